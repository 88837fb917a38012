package rank

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/shelf"
)

const (
	defaultLimit = 50
	maxLimit     = 1000
)

// ComputeChart computes a list straight from the ledger, as of any time. It reads the whole
// log of events and is for people and tests, not for pages; two run at a time.
func (s *Service) ComputeChart(ctx context.Context, req *pb.ComputeChartRequest) (*pb.ComputeChartResponse, error) {
	c, err := s.asked(req)
	if err != nil {
		return nil, err
	}
	limit := int(req.GetLimit())
	switch {
	case limit < 0 || limit > maxLimit:
		return nil, fault.Invalid("limit", "must be from 0 to %d", maxLimit)
	case limit == 0:
		limit = defaultLimit
	}
	now := s.clock.Now()
	at, err := timeOf("at_time", req.GetAtTime(), now)
	if err != nil {
		return nil, err
	}
	snap := s.shelf.Current()
	keep := func(e *shelf.Entry) bool { return req.GetGenre() == "" || e.HasGenre(req.GetGenre()) }
	if req.GetViewer() != nil {
		narrowed, err := auth.Narrow(auth.CallerFrom(ctx), req.GetViewer())
		if err != nil {
			return nil, err
		}
		v, ofGenre := shelf.NewViewer(narrowed), keep
		keep = func(e *shelf.Entry) bool {
			verdict, _ := snap.Gate(v, e, now)
			return verdict != shelf.Hidden && ofGenre(e)
		}
	}
	release, err := s.heavyWork(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	films, err := s.oracle(ctx, snap, c, req.GetMarket(), at, keep)
	if err != nil {
		return nil, err
	}
	answer := &pb.ComputeChartResponse{ChartRevisionId: c.RevisionId}
	for i, f := range films[:min(limit, len(films))] {
		answer.Entries = append(answer.Entries, &pb.ChartEntry{Film: f.film.Name, Rank: int32(i + 1), Score: proto.Float64(f.score.float())})
	}
	return answer, nil
}

// oracle is ComputeChart's list, uncut.
func (s *Service) oracle(ctx context.Context, snap *shelf.Snapshot, c *pb.Chart, market string, at int64, keep func(*shelf.Entry) bool) ([]placed, error) {
	through, err := s.ledger.Head(ctx)
	if err != nil {
		return nil, err
	}
	census, err := takeCensus(ctx, s.ledger, c, market, at, through)
	if err != nil {
		return nil, err
	}
	return census.list(snap, market, keep), nil
}

// asked gives the definition a request names or brings, checked.
func (s *Service) asked(req *pb.ComputeChartRequest) (*pb.Chart, error) {
	switch source := req.GetSource().(type) {
	case *pb.ComputeChartRequest_Chart:
		return s.chart(source.Chart)
	case *pb.ComputeChartRequest_Definition:
		c := proto.CloneOf(source.Definition)
		if err := validate(c, "definition"); err != nil {
			return nil, err
		}
		c.Name = ""
		seal(c)
		return c, nil
	}
	return nil, fault.Invalid("source", "chart or definition is required")
}

// timeOf gives a request's time in microseconds since 1970; unset is now.
func timeOf(path string, t *timestamppb.Timestamp, now time.Time) (int64, error) {
	if t == nil {
		return now.UnixMicro(), nil
	}
	if err := t.CheckValid(); err != nil {
		return 0, fault.Invalid(path, "must be a valid time from year 1 to 9999")
	}
	return t.AsTime().UnixMicro(), nil
}

// heavyWork waits for one of the few places of calls that read the whole ledger.
func (s *Service) heavyWork(ctx context.Context) (release func(), err error) {
	select {
	case s.heavy <- struct{}{}:
		return func() { <-s.heavy }, nil
	case <-ctx.Done():
		e := fault.New(fault.ResourceExhausted, pb.ErrorReason_OVERLOADED, "too many charts are being computed; try again")
		e.RetryAfter = 2 * time.Second
		return nil, e
	}
}
