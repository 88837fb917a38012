package signals

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/changes"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/ledger"
	"github.com/aitheater/theater/internal/shelf"
	"github.com/aitheater/theater/internal/sqldb"
)

const (
	maxEvents = 500
	// retention is how long events other than ratings are kept, by receipt.
	retention = 400 * 24 * time.Hour
	// keepEvery is how often keys, answers and old events are looked after.
	keepEvery = time.Minute
	// ahead is how many batches of an import are on their way at once.
	ahead = 8
	// catchUpLimit is how long a call waits for films that this replica has not seen yet.
	catchUpLimit = time.Second
)

// Service is the SignalService. Run must be running for it to answer.
type Service struct {
	pb.UnimplementedSignalServiceServer
	ledger  *ledger.Ledger
	db      *sqldb.DB
	log     *changes.Log
	shelf   *shelf.Shelf
	viewers *viewers
	queue   *queue
	metrics *metrics
	secret  []byte // authenticates the arguments of remembered calls
	now     func() time.Time
}

// New makes the service; sh is what log keeps up to date. It asks the database for the key that viewers are hashed with, and
// fails where none of the root secrets opens that.
func New(ctx context.Context, l *ledger.Ledger, db *sqldb.DB, log *changes.Log, sh *shelf.Shelf, keys *auth.Keys) (*Service, error) {
	now := db.Clock().Now
	v, err := newViewers(ctx, db, keys, now)
	if err != nil {
		return nil, err
	}
	m := newMetrics()
	s := &Service{
		ledger: l, db: db, log: log, shelf: sh, metrics: m, now: now,
		viewers: v,
		queue:   newQueue(l, m),
		secret:  keys.Derive("signals requests", 32),
	}
	m.watch(s.queue.depth)
	return s, nil
}

// Run writes events to the ledger and deletes what has lived long enough, until ctx ends;
// then it writes what is still queued.
func (s *Service) Run(ctx context.Context) error {
	var keeper sync.WaitGroup
	keeper.Go(func() { s.keep(ctx) })
	defer keeper.Wait()
	s.queue.run(ctx)
	return nil
}

// keep looks after what has an end: at once, and then every keepEvery.
func (s *Service) keep(ctx context.Context) {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for {
		if err := s.expire(ctx); err != nil && ctx.Err() == nil {
			slog.WarnContext(ctx, "what has expired cannot be deleted; trying again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (s *Service) expire(ctx context.Context) error {
	if err := s.viewers.forget(ctx); err != nil {
		return err
	}
	if err := deletePurges(ctx, s.db); err != nil {
		return err
	}
	for more := true; more && ctx.Err() == nil; {
		var err error
		if more, err = s.ledger.Trim(ctx, s.now().Add(-retention).UnixMicro()); err != nil {
			return err
		}
	}
	return nil
}

// RecordEvents stores events and answers each one, once all accepted ones are durable.
func (s *Service) RecordEvents(ctx context.Context, req *pb.RecordEventsRequest) (*pb.RecordEventsResponse, error) {
	d, err := s.door(ctx, req.GetEvents(), false)
	if err != nil {
		return nil, err
	}
	results, p, err := s.submit(ctx, d, req.GetEvents())
	if err != nil {
		return nil, err
	}
	if err := s.durable(ctx, p); err != nil {
		return nil, err
	}
	return &pb.RecordEventsResponse{Results: results}, nil
}

// ImportEvents stores events of any age. Several batches are on their way at once; answers are
// in order, each after its batch is durable.
func (s *Service) ImportEvents(stream grpc.BidiStreamingServer[pb.ImportEventsRequest, pb.ImportEventsResponse]) error {
	type sent struct {
		results []*pb.EventResult
		parcel  *parcel
	}
	group, ctx := errgroup.WithContext(stream.Context())
	pending := make(chan sent, ahead)
	group.Go(func() error {
		defer close(pending)
		for {
			req, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			results, p, err := s.submitPatiently(ctx, req.GetEvents())
			if err != nil {
				return err
			}
			select {
			case pending <- sent{results, p}:
			case <-ctx.Done():
				return contextFault(ctx)
			}
		}
	})
	group.Go(func() error {
		for b := range pending {
			if err := s.durable(ctx, b.parcel); err != nil {
				return err
			}
			if err := stream.Send(&pb.ImportEventsResponse{Results: b.results}); err != nil {
				return err
			}
		}
		return nil
	})
	return group.Wait()
}

// submitPatiently is submit that waits for room in the queue.
func (s *Service) submitPatiently(ctx context.Context, events []*pb.Event) ([]*pb.EventResult, *parcel, error) {
	d, err := s.door(ctx, events, true)
	if err != nil {
		return nil, nil, err
	}
	for {
		results, p, err := s.submit(ctx, d, events)
		if !fault.Is(err, pb.ErrorReason_OVERLOADED) {
			return results, p, err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return nil, nil, contextFault(ctx)
		}
	}
}

// door gives what decides about a call's events. A film may have been made on another replica a
// moment ago, and a refused event is not sent again: before one is refused for its film, this
// replica catches up, or the call is Unavailable.
func (s *Service) door(ctx context.Context, events []*pb.Event, anyAge bool) (*door, error) {
	if n := len(events); n == 0 || n > maxEvents {
		return nil, fault.Invalid("events", "must have 1 to %d items, has %d", maxEvents, n)
	}
	known := knownTo(s.shelf.Current())
	if slices.ContainsFunc(events, func(e *pb.Event) bool { return !known(e.GetFilm()) }) {
		if err := s.log.CatchUp(ctx, catchUpLimit); err != nil {
			return nil, err
		}
		known = knownTo(s.shelf.Current())
	}
	return &door{caller: auth.CallerFrom(ctx), now: s.now(), anyAge: anyAge, known: known}, nil
}

func knownTo(films *shelf.Snapshot) func(name string) bool {
	return func(name string) bool {
		film := films.Film(name)
		return film != nil && !film.Deleted
	}
}

// submit decides about each event and queues those it takes; the parcel is nil when it takes none.
func (s *Service) submit(ctx context.Context, d *door, events []*pb.Event) ([]*pb.EventResult, *parcel, error) {
	rows := make([]ledger.Event, 0, len(events))
	backing := make([]pb.EventResult, len(events))
	results := make([]*pb.EventResult, len(events))
	for i, e := range events {
		results[i] = &backing[i]
		row, reason := d.admit(e)
		if reason == "" {
			var err error
			row.Viewer, err = s.viewers.hash(ctx, &row, e.GetViewerKey())
			if errors.Is(err, errKeyGone) {
				reason = keyGone
			} else if err != nil {
				return nil, nil, err
			}
		}
		if reason != "" {
			results[i].Status, results[i].Reason = pb.EventResult_REJECTED, reason
			field, _, _ := strings.Cut(reason, ":")
			s.metrics.refused(ctx, field)
			continue
		}
		results[i].Status = pb.EventResult_ACCEPTED
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		return results, nil, nil
	}
	p, err := s.queue.enqueue(ctx, rows)
	return results, p, err
}

func (s *Service) durable(ctx context.Context, p *parcel) error {
	if p == nil {
		return nil
	}
	return s.queue.wait(ctx, p)
}
