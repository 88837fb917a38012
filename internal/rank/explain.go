package rank

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/generations"
	"github.com/aitheater/theater/internal/shelf"
)

// fewChildren is from how many children on their number may be told.
const fewChildren = 5

// ExplainRank shows the numbers behind a film's place in the current generation, counted from
// the ledger as the list's computation saw it.
func (s *Service) ExplainRank(ctx context.Context, req *pb.ExplainRankRequest) (*pb.ExplainRankResponse, error) {
	c, err := s.chart(req.GetChart())
	if err != nil {
		return nil, err
	}
	film := s.shelf.Current().Film(req.GetFilm())
	if film == nil || film.Deleted {
		return nil, fault.FilmNotFound()
	}
	answer := &pb.ExplainRankResponse{}
	counted, at, through := req.GetMarket(), s.clock.Now().UnixMicro(), s.ledger.Head
	list := s.gens.Latest(c.Name, req.GetMarket())
	if list != nil && list.ChartRevisionID == c.RevisionId {
		answer.Generation = &pb.Generation{Number: list.Number, ChartRevisionId: list.ChartRevisionID, ComputeTime: timestamppb.New(list.ComputeTime)}
		counted, at = list.Market, list.ComputeTime.UnixMicro()
		answer.Rank = rankIn(list, film.Name)
		through = func(ctx context.Context) (int64, error) { return s.watermarkAt(ctx, at) }
	}
	census, err := s.census(ctx, c, counted, at, through)
	if err != nil {
		return nil, err
	}
	if x, ok := census.score(film, req.GetMarket()); ok {
		answer.Score = x.float()
	}
	answer.Components, answer.Formula = census.explain(film, req.GetMarket())
	return answer, nil
}

func rankIn(l *generations.List, film string) int32 {
	for i := range l.Entries {
		if l.Entries[i].Film == film {
			return l.Entries[i].Rank
		}
	}
	return 0
}

// explain gives the numbers of the formula and the formula.
func (s *census) explain(e *shelf.Entry, market string) (parts []*pb.ScoreComponent, formula string) {
	t := s.films[e.Name]
	if t == nil {
		t = &tally{}
	}
	add := func(name string, value float64, count int64) {
		parts = append(parts, &pb.ScoreComponent{Name: name, Value: value, Count: count})
	}
	switch s.chart.Kind {
	case pb.Chart_HOT:
		s.explainSums(t, t.short, "", add)
		formula = "score = the sum of the kinds' decayed, weighted sums"
	case pb.Chart_RISING:
		s.explainSums(t, t.short, "short.", add)
		s.explainSums(t, t.long, "long.", add)
		formula = "score = the sum of short.* / the sum of long.*"
	case pb.Chart_TOP_RATED:
		add("sum", t.sum, 0)
		add("n", t.n, t.told(pb.Event_RATE))
		add("C", s.mean(), 0)
		add("m", s.chart.PriorWeight, 0)
		formula = "score = (sum + m*C) / (n + m)"
	case pb.Chart_WILSON:
		add("positive", t.positive, 0)
		add("n", t.n, t.told(pb.Event_RATE))
		add("z", s.chart.Z, 0)
		formula = "with p = positive/n: score = (p + z^2/(2n) - z*sqrt(p*(1-p)/n + z^2/(4n^2))) / (1 + z^2/n)"
	case pb.Chart_MOST_WATCHED:
		var count int64
		if t.plays == t.counts[pb.Event_PLAY] {
			count = t.told(pb.Event_PLAY)
		}
		add("watched_seconds", t.watched, count)
		add("runtime_seconds", e.Runtime, 0)
		formula = "score = watched_seconds / runtime_seconds"
	case pb.Chart_NEW:
		start, _ := e.FirstStart(market)
		add("first_window_start", float64(start)/1e6, 0)
		add("first_publish", float64(e.FirstPublish)/1e6, 0)
		formula = "score = the later of first_window_start and first_publish"
	}
	if s.chart.NormalizeByRuntime {
		add("runtime_hours", e.Runtime/3600, 0)
		formula += ", / runtime_hours"
	}
	return parts, formula
}

func (s *census) explainSums(t *tally, sums [nKinds]score, prefix string, add func(string, float64, int64)) {
	for k, w := range weightsOf(s.chart) {
		if w > 0 && t.counts[k] > 0 {
			add(prefix+pb.Event_Kind(k).String(), sums[k].float(), t.told(pb.Event_Kind(k)))
		}
	}
}

// told is how many events of a kind may be told: those of fewer than five children are left
// out.
func (t *tally) told(k pb.Event_Kind) int64 {
	if len(t.children[k]) >= fewChildren {
		return t.counts[k]
	}
	n := t.counts[k]
	for _, events := range t.children[k] {
		n -= events
	}
	return n
}
