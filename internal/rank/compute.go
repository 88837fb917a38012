package rank

import (
	"context"
	"slices"
	"strings"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/generations"
	"github.com/aitheater/theater/internal/ledger"
	"github.com/aitheater/theater/internal/shelf"
)

// tally is what a definition wants to know of one film's counted events.
type tally struct {
	// short and long are the decayed, weighted sums by kind, counts the events behind them.
	short, long [nKinds]score
	counts      [nKinds]int64
	// children are the counts' children, by kind: their hashes.
	children [nKinds]map[ledger.Viewer]int64
	// n, sum and positive are over the latest ratings.
	n, sum, positive float64
	// plays and watched are over the window.
	plays   int64
	watched float64
}

// census is every film's tally as of a time, for one definition.
type census struct {
	chart *pb.Chart
	at    int64
	films map[string]*tally
	// ratings and ratingSum are over all films of the market: their mean is C.
	ratings, ratingSum float64
}

func newCensus(c *pb.Chart, at int64) *census {
	return &census{chart: c, at: at, films: map[string]*tally{}}
}

// takeCensus reads the ledger. A market without a counted event of its own takes those of all
// markets together.
func takeCensus(ctx context.Context, log *ledger.Ledger, c *pb.Chart, market string, at, through int64) (*census, error) {
	if market == generations.World {
		market = ""
	}
	s := newCensus(c, at)
	weights := weightsOf(c)
	own, err := eachCounted(ctx, log, market, at, through, func(e ledger.Event) { s.add(&e, weights) })
	if err == nil && !own && market != "" {
		_, err = eachCounted(ctx, log, "", at, through, func(e ledger.Event) { s.add(&e, weights) })
	}
	return s, err
}

func (s *census) add(e *ledger.Event, weights [nKinds]float64) {
	t := s.films[e.Film]
	if t == nil {
		t = &tally{}
		s.films[e.Film] = t
	}
	k, w := e.Kind, weights[e.Kind]
	t.counts[k]++
	if e.Audience != pb.Viewer_ADULT {
		if t.children[k] == nil {
			t.children[k] = map[ledger.Viewer]int64{}
		}
		t.children[k][e.Viewer]++
	}
	if w > 0 && s.chart.HalfLife != nil {
		t.short[k] = t.short[k].plus(decay(s.at-e.Occur, micros(s.chart.HalfLife)).times(w)).normal()
	}
	if w > 0 && s.chart.LongHalfLife != nil {
		t.long[k] = t.long[k].plus(decay(s.at-e.Occur, micros(s.chart.LongHalfLife)).times(w)).normal()
	}
	switch k {
	case pb.Event_RATE:
		t.n++
		t.sum += e.Value
		if e.Value >= s.chart.PositiveThreshold {
			t.positive++
		}
		s.ratings++
		s.ratingSum += e.Value
	case pb.Event_PLAY:
		if s.chart.Window == nil || e.Occur > s.at-micros(s.chart.Window) {
			t.plays++
			t.watched += e.Value
		}
	}
}

// mean is C, the mean of all latest ratings of the market.
func (s *census) mean() float64 {
	if s.ratings == 0 {
		return 0
	}
	return s.ratingSum / s.ratings
}

func sum(parts [nKinds]score) (total score) {
	for _, p := range parts {
		total = total.plus(p)
	}
	return total.normal()
}

// score is a film's score by the definition's formula; ok is false where the film has none:
// no counted event, too few votes, an unknown runtime where that divides, or the wrong form.
func (s *census) score(e *shelf.Entry, market string) (x score, ok bool) {
	if !formFits(s.chart, e.Form) {
		return score{}, false
	}
	t := s.films[e.Name]
	if t == nil {
		t = &tally{}
	}
	var votes int64
	switch s.chart.Kind {
	case pb.Chart_HOT, pb.Chart_RISING:
		weights := weightsOf(s.chart)
		for k, n := range t.counts {
			if weights[k] > 0 {
				votes += n
			}
		}
		x = sum(t.short)
		if s.chart.Kind == pb.Chart_RISING && votes > 0 {
			x = x.over(sum(t.long))
		}
	case pb.Chart_TOP_RATED:
		votes = int64(t.n)
		if votes > 0 {
			x = scoreOf(bayes(t.sum, t.n, s.chart.PriorWeight, s.mean()))
		}
	case pb.Chart_WILSON:
		votes = int64(t.n)
		if votes > 0 {
			x = scoreOf(wilson(t.positive, t.n, s.chart.Z))
		}
	case pb.Chart_MOST_WATCHED:
		votes = t.plays
		if e.Runtime <= 0 {
			return score{}, false
		}
		x = scoreOf(t.watched / e.Runtime)
	case pb.Chart_NEW:
		since, known := newSince(e, market, s.at)
		if !known {
			return score{}, false
		}
		votes, x = 1, scoreOf(since)
	}
	if votes == 0 || votes < int64(s.chart.MinVotes) {
		return score{}, false
	}
	return byRuntime(s.chart, e, x)
}

// byRuntime divides by the runtime in hours where the definition says so.
func byRuntime(c *pb.Chart, e *shelf.Entry, x score) (score, bool) {
	if !c.NormalizeByRuntime {
		return x, true
	}
	if e.Runtime <= 0 {
		return score{}, false
	}
	return x.times(3600 / e.Runtime), true
}

// newSince is the later of the film's first window start in the market and its first
// publishing, in seconds since 1970; ok is false before that time, and for films that never
// had both.
func newSince(e *shelf.Entry, market string, at int64) (seconds float64, ok bool) {
	start, open := e.FirstStart(market)
	if !open || e.FirstPublish == 0 {
		return 0, false
	}
	since := max(start, e.FirstPublish)
	return float64(since) / 1e6, since <= at
}

// placed is a film with its score.
type placed struct {
	film  *shelf.Entry
	score score
}

// order is the order of every list: by score to 12 significant digits, best first, then by
// name.
func order(a, b placed) int {
	if c := compare(b.score, a.score); c != 0 {
		return c
	}
	return strings.Compare(a.film.Name, b.film.Name)
}

// list gives the films that have a score and pass keep, best first.
func (s *census) list(snap *shelf.Snapshot, market string, keep func(*shelf.Entry) bool) []placed {
	var films []placed
	for slot := range snap.Slots() {
		e := snap.At(slot)
		if e == nil || e.Deleted || !keep(e) {
			continue
		}
		if x, ok := s.score(e, market); ok {
			films = append(films, placed{e, x})
		}
	}
	slices.SortFunc(films, order)
	return films
}
