package rank

import (
	"context"
	"errors"
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

	// placeLimit is how long a call waits for a place among those that read the whole ledger,
	// and heavyLimit how long it may take in all, unless it has a deadline of its own: its answer
	// must be out before the HTTP port gives a reply up, which is after a minute.
	placeLimit = 10 * time.Second
	heavyLimit = 55 * time.Second
)

// ComputeChart computes a list straight from the ledger, as of any time. It reads the whole
// log of events, except for NEW, and is for people and tests, not for pages; two run at a time.
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
	census, err := s.census(ctx, c, market, at, s.ledger.Head)
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

// census counts for a definition, up to the sequence number through gives. What reads the whole
// ledger waits for one of the few places there are for that: it is ResourceExhausted where none
// gets free in time, and DeadlineExceeded where the reading takes too long.
func (s *Service) census(ctx context.Context, c *pb.Chart, market string, at int64, through func(context.Context) (int64, error)) (*census, error) {
	if c.Kind == pb.Chart_NEW { // goes by the dates of films
		return newCensus(c, at), nil
	}
	if _, own := ctx.Deadline(); !own {
		limited, cancel := context.WithTimeout(ctx, heavyLimit)
		defer cancel()
		ctx = limited
	}
	if err := s.place(ctx); err != nil {
		return nil, err
	}
	defer func() { <-s.heavy }()
	seq, err := through(ctx)
	if err != nil {
		return nil, late(ctx, err)
	}
	counted, err := takeCensus(ctx, s.ledger, c, market, at, seq)
	return counted, late(ctx, err)
}

// late says of what failed after its deadline that it did so because of that.
func late(ctx context.Context, err error) error {
	if err == nil || !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return err
	}
	e := fault.New(fault.DeadlineExceeded, pb.ErrorReason_DEADLINE_EXCEEDED,
		"the events could not be read in time; ask for a market with fewer, for an earlier time, or over gRPC with a longer deadline")
	e.Cause = err
	return e
}

// place takes one of the places of calls that read the whole ledger.
func (s *Service) place(ctx context.Context) error {
	patience := time.NewTimer(placeLimit)
	defer patience.Stop()
	select {
	case s.heavy <- struct{}{}:
		return nil
	case <-ctx.Done():
	case <-patience.C:
	}
	e := fault.New(fault.ResourceExhausted, pb.ErrorReason_OVERLOADED, "too many charts are being computed; try again")
	e.RetryAfter = 2 * time.Second
	return e
}
