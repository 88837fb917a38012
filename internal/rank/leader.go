package rank

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/generations"
	"github.com/aitheater/theater/internal/shelf"
	"github.com/aitheater/theater/internal/sqldb"
	"github.com/aitheater/theater/internal/telemetry"
)

const (
	// leaseName is the lease of the one leader.
	leaseName = "rank"
	// batch is how many events are folded at a time; the lease is looked at in between.
	batch = 20_000
	// checkpointEvery is how often the state is stored while events come in: what a new leader
	// has to fold again.
	checkpointEvery = 30 * time.Second
	// refreshEvery is how often lists are made although nothing happened, because windows
	// open and close and days end.
	refreshEvery = time.Minute
	// minBase is below which a state is not written whole only because its changes add up.
	minBase = 8 << 20
)

// leader is what a process holds while it has the lease. Whenever something is doubtful (a
// lost lease, a transaction whose end is unknown) it is thrown away and read again.
type leader struct {
	*Service
	config Config
	epoch  int64
	state  *state
	stored checkpoint
	board  *board
	now    func() time.Time         // the database's time
	stats  map[string]*pb.FilmStats // nil until all films' were counted

	renewed, checkpointed, published, refreshed, counted time.Time
	revision                                             int64 // of the shelf, at the last generation
}

// Run ranks while this process holds the lease, until ctx ends; then it gives the lease back.
func (s *Service) Run(ctx context.Context) error {
	config := s.Config.filled()
	tick := time.NewTicker(config.Tick)
	defer tick.Stop()
	var l *leader
	var renewed time.Time
	for ctx.Err() == nil {
		err := s.turn(ctx, config, &l, &renewed)
		if err != nil && ctx.Err() == nil {
			l = nil
			if !errors.Is(err, sqldb.ErrLeaseLost) {
				slog.WarnContext(ctx, "the charts stand still; the last ones go on", "error", err)
			}
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	return s.resign(context.WithoutCancel(ctx), l)
}

// resign stores what was folded and lets another process lead at once.
func (s *Service) resign(ctx context.Context, l *leader) error {
	if l == nil {
		return nil
	}
	if l.state.watermark > l.stored.Watermark {
		if err := l.checkpoint(ctx); err != nil {
			slog.WarnContext(ctx, "the last events are folded again by the next leader", "error", err)
		}
	}
	_, _, err := s.db.Lease(ctx, leaseName, s.holder, 0)
	if fault.Is(err, pb.ErrorReason_STORE_UNAVAILABLE) {
		return nil // it runs out by itself
	}
	return err
}

// turn is one look at the lease and, where it is ours, at the ledger.
func (s *Service) turn(ctx context.Context, config Config, l **leader, renewed *time.Time) error {
	if *l == nil || time.Since(*renewed) > config.Lease/4 {
		began := time.Now()
		epoch, held, err := s.db.Lease(ctx, leaseName, s.holder, config.Lease)
		switch {
		case err != nil:
			return err
		case !held:
			*l = nil
			return nil
		}
		*renewed = began
		if *l != nil && (*l).epoch != epoch {
			*l = nil
		}
		if *l == nil {
			if *l, err = s.take(ctx, config, epoch); err != nil {
				return err
			}
		}
	}
	(*l).renewed = *renewed
	err := (*l).work(ctx)
	*renewed = (*l).renewed
	return err
}

// take makes this process the leader: it reads the state of the last one.
func (s *Service) take(ctx context.Context, config Config, epoch int64) (*leader, error) {
	ctx, span := telemetry.Start(ctx, "rank.take")
	defer span.End()
	l := &leader{Service: s, config: config, epoch: epoch, board: newBoard(), now: s.clock.Now, checkpointed: time.Now()}
	want := needsOf(inForce(s.shelf.Current(), s.builtin))
	err := s.db.Read(ctx, func(tx *sqldb.Tx) error {
		l.state = nil
		c, err := readCheckpoint(tx, func(c *checkpoint, body []byte) error {
			if l.state == nil {
				l.state = newState(c.Needs.needs())
			}
			return l.state.read(body)
		})
		if errors.Is(err, errSegment) {
			slog.WarnContext(ctx, "the checkpoint cannot be read; the ledger is folded from its beginning")
			c, err = nil, nil
		}
		if err != nil {
			return err
		}
		if c == nil || l.state == nil {
			l.state = nil
			return nil
		}
		l.stored = *c
		l.state.watermark, l.state.at = c.Watermark, c.At
		l.state.written()
		l.state.renamed = 0
		return nil
	})
	if err != nil {
		return nil, err
	}
	if l.state == nil || !l.state.needs.cover(want) {
		l.restart(want)
	}
	slog.InfoContext(ctx, "leading the charts", "epoch", epoch, "watermark", l.state.watermark)
	return l, nil
}

// restart folds the ledger from its beginning.
func (l *leader) restart(want needs) {
	l.state, l.board, l.stats = newState(want), newBoard(), nil
	l.stored = checkpoint{Last: l.stored.Last}
}

// work folds what is new and makes new lists where it is time to.
func (l *leader) work(ctx context.Context) error {
	snap := l.shelf.Current()
	if snap.Revision() == 0 {
		return nil // not loaded, or an empty store
	}
	if want := needsOf(inForce(snap, l.builtin)); !l.state.needs.cover(want) {
		slog.InfoContext(ctx, "a chart asks for numbers nobody counted: the ledger is folded from its beginning")
		l.restart(want)
	}
	l.state.advance(l.now().UnixMicro())
	if err := l.catchUp(ctx); err != nil {
		return err
	}
	if err := l.state.repair(ctx, l.ledger); err != nil {
		return err
	}
	if since := time.Since(l.published); since >= l.config.Interval &&
		(time.Since(l.refreshed) >= refreshEvery || l.state.changed() || snap.Revision() != l.revision) {
		if err := l.publish(ctx, snap); err != nil {
			return err
		}
	}
	if (len(l.state.newStats) > 0 || l.stats == nil) && time.Since(l.counted) >= 3*l.config.Interval {
		if err := l.publishStats(ctx); err != nil {
			return err
		}
	}
	if l.state.watermark > l.stored.Watermark && time.Since(l.checkpointed) >= checkpointEvery {
		return l.checkpoint(ctx)
	}
	return nil
}

// catchUp folds the ledger up to where it stood at the beginning.
func (l *leader) catchUp(ctx context.Context) error {
	var span trace.Span
	head, err := l.ledger.Head(ctx)
	if err != nil || head <= l.state.watermark {
		return err
	}
	ctx, span = telemetry.Start(ctx, "rank.fold", attribute.Int64("from", l.state.watermark), attribute.Int64("to", head))
	defer span.End()
	for l.state.watermark < head {
		if err := l.foldBatch(ctx, span); err != nil {
			return err
		}
		if err := l.keep(ctx); err != nil {
			return err
		}
		if time.Since(l.checkpointed) >= checkpointEvery {
			if err := l.checkpoint(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// foldBatch folds the next events.
func (l *leader) foldBatch(ctx context.Context, span trace.Span) error {
	for {
		b, err := l.ledger.After(ctx, l.state.watermark, batch)
		if err != nil {
			return err
		}
		l.state.rename(b.Purges)
		read, err := l.state.prepare(ctx, l.ledger, b.Events)
		if err != nil {
			return err
		}
		if read {
			// A purge between the two readings would have renamed what the second one saw.
			again, err := l.ledger.After(ctx, l.state.watermark, 1)
			if err != nil {
				return err
			}
			if len(again.Purges) != len(b.Purges) {
				continue
			}
		}
		l.state.fold(b)
		l.state.forgetDays()
		for _, parent := range b.Traces {
			carrier := propagation.MapCarrier{"traceparent": parent}
			if sc := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), carrier)); sc.IsValid() {
				span.AddLink(trace.Link{SpanContext: sc})
			}
		}
		return nil
	}
}

// keep renews the lease while there is much to do.
func (l *leader) keep(ctx context.Context) error {
	if time.Since(l.renewed) <= l.config.Lease/4 {
		return nil
	}
	began := time.Now()
	epoch, held, err := l.db.Lease(ctx, leaseName, l.holder, l.config.Lease)
	if err == nil && (!held || epoch != l.epoch) {
		err = sqldb.ErrLeaseLost
	}
	l.renewed = began
	return err
}

// checkpoint stores the state as of its watermark: what changed since the last one, or
// everything where that has become shorter. Segments are written a few at a time, so that
// other writers never wait for long; they become the state with the last transaction.
func (l *leader) checkpoint(ctx context.Context) error {
	ctx, span := telemetry.Start(ctx, "rank.checkpoint")
	defer span.End()
	next := l.stored
	all := next.Format == 0 || next.Bytes > max(next.BaseBytes, minBase)
	if all {
		next.First, next.BaseBytes, next.Bytes = next.Last+1, 0, 0
	}
	w := newSegmentWriter(func(body []byte) error {
		next.Last++
		next.Bytes += int64(len(body))
		if err := l.keep(ctx); err != nil {
			return err
		}
		return l.db.Write(ctx, func(tx *sqldb.Tx) error {
			if err := tx.Guard(leaseName, l.epoch); err != nil {
				return err
			}
			return writeSegment(tx, next.Last, body)
		})
	})
	l.state.write(w, all)
	if w.err != nil {
		return w.err
	}
	if all {
		next.BaseBytes, next.Bytes = next.Bytes, 0
	}
	next.Format, next.Needs, next.Watermark, next.At = format, l.state.needs.body(), l.state.watermark, l.state.at
	err := l.db.Write(ctx, func(tx *sqldb.Tx) error {
		if err := tx.Guard(leaseName, l.epoch); err != nil {
			return err
		}
		if err := writeCheckpoint(tx, &next); err != nil {
			return err
		}
		return l.ledger.Forget(tx, next.Watermark)
	})
	if err != nil {
		return err
	}
	l.stored = next
	l.state.written()
	l.checkpointed = time.Now()
	return nil
}

// publish makes the lists of now.
func (l *leader) publish(ctx context.Context, snap *shelf.Snapshot) error {
	ctx, span := telemetry.Start(ctx, "rank.publish")
	defer span.End()
	began := time.Now()
	charts := inForce(snap, l.builtin)
	win, err := l.windows(ctx, charts)
	if err != nil {
		return err
	}
	lists := l.board.lists(charts, l.state, snap, win, l.before, began.Sub(l.refreshed) >= refreshEvery)
	sc := span.SpanContext()
	for _, list := range lists {
		if list.Number == 0 {
			list.TraceID, list.SpanID = sc.TraceID(), sc.SpanID()
		}
	}
	fresh, err := l.gens.Publish(ctx, leaseName, l.epoch, lists)
	if err != nil {
		return err
	}
	if err := l.noteRuns(ctx, fresh, lists); err != nil {
		return err
	}
	if began.Sub(l.refreshed) >= refreshEvery || snap.Revision() != l.revision {
		l.refreshed = began
	}
	l.published, l.revision = began, snap.Revision()
	return nil
}

// before gives the list that is published now.
func (l *leader) before(chart, market string) *generations.List {
	if list := l.gens.Latest(chart, market); list != nil && list.Market == market {
		return list
	}
	return nil
}

// noteRuns remembers how far the ledger was folded for the new lists, for ExplainRank.
func (l *leader) noteRuns(ctx context.Context, fresh, all []*generations.List) error {
	if len(fresh) == 0 {
		return nil
	}
	oldest, runs := l.state.at, map[int64]int64{}
	for _, list := range all {
		oldest = min(oldest, list.ComputeTime.UnixMicro())
	}
	for _, list := range fresh {
		runs[list.ComputeTime.UnixMicro()] = l.board.made[listKey{list.Chart, list.Market}].watermark
	}
	return l.db.Write(ctx, func(tx *sqldb.Tx) error {
		if err := tx.Guard(leaseName, l.epoch); err != nil {
			return err
		}
		return writeRuns(tx, runs, oldest)
	})
}

// publishStats makes the films' counts known.
func (l *leader) publishStats(ctx context.Context) error {
	if l.stats == nil {
		l.stats = make(map[string]*pb.FilmStats, len(l.state.films))
		for film, name := range l.state.films {
			if counts := l.state.stats(uint32(film)); counts != nil {
				l.stats[name] = counts
			}
		}
	}
	for film := range l.state.newStats {
		if counts := l.state.stats(film); counts != nil {
			l.stats[l.state.films[film]] = counts
		}
	}
	if err := l.gens.PublishStats(ctx, leaseName, l.epoch, maps.Clone(l.stats)); err != nil {
		return err
	}
	clear(l.state.newStats)
	l.counted = time.Now()
	return nil
}
