package rank

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/sqldb"
)

const (
	// leaseName is the lease of the one leader.
	leaseName = "rank"
	// refreshEvery is how often lists are made although nothing happened, because windows
	// open and close and days end.
	refreshEvery = time.Minute
)

// leader is what a process holds while it has the lease. Whenever something is doubtful (a
// lost lease, a transaction whose end is unknown) it is thrown away and read again.
type leader struct {
	*Service
	config Config
	epoch  int64
	state  *state
	// next is a state that is folded from the beginning of the ledger, for charts that the
	// present one cannot rank; nil when there are none.
	next   *state
	stored checkpoint
	board  *board
	batch  int                      // how many events are folded at a time
	now    func() time.Time         // the database's time
	stats  map[string]*pb.FilmStats // nil until all films' were counted

	checkpointed, published, refreshed, counted time.Time
	revision                                    int64 // of the shelf, at the last generation
}

// Run ranks while this process holds the lease, until ctx ends; then it gives the lease back.
func (s *Service) Run(ctx context.Context) error {
	config := s.Config.filled()
	tick := time.NewTicker(config.Tick)
	defer tick.Stop()
	led := false
	for ctx.Err() == nil {
		held, err := s.lead(ctx, config, tick.C)
		led = led || held
		if err != nil && ctx.Err() == nil && !errors.Is(err, sqldb.ErrLeaseLost) {
			slog.WarnContext(ctx, "the charts stand still; the last ones go on", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	if !led {
		return nil
	}
	_, _, err := s.db.Lease(context.WithoutCancel(ctx), leaseName, s.holder, 0)
	if fault.Is(err, pb.ErrorReason_STORE_UNAVAILABLE) {
		return nil // it runs out by itself
	}
	return err
}

// lead ranks from taking the lease to losing it; it returns at once, without an error, where
// another process holds it.
func (s *Service) lead(ctx context.Context, config Config, tick <-chan time.Time) (held bool, err error) {
	began := time.Now()
	epoch, held, err := s.db.Lease(ctx, leaseName, s.holder, config.Lease)
	if err != nil || !held {
		return held, err
	}
	inOffice, leave := context.WithCancelCause(ctx)
	var keeper sync.WaitGroup
	keeper.Go(func() { leave(s.keepLease(inOffice, config, epoch, began)) })
	defer keeper.Wait()
	defer leave(nil)
	s.leading.Store(true)
	defer func() { s.leading.Store(false); s.behind.Store(0) }()

	l, err := s.take(inOffice, config, epoch)
	for err == nil {
		var more bool
		if more, err = l.work(inOffice); more {
			continue
		}
		select {
		case <-inOffice.Done():
			err = context.Cause(inOffice)
		case <-tick:
		}
	}
	if ctx.Err() != nil && l != nil {
		l.resign(context.WithoutCancel(ctx))
	} else if inOffice.Err() != nil {
		err = context.Cause(inOffice)
	}
	return true, err
}

// keepLease renews the lease until ctx ends, however long a piece of work takes; an error says
// why it is not ours any longer.
func (s *Service) keepLease(ctx context.Context, config Config, epoch int64, renewed time.Time) error {
	tick := time.NewTicker(config.Lease / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		began := time.Now()
		now, held, err := s.db.Lease(ctx, leaseName, s.holder, config.Lease)
		switch {
		case err == nil && held && now == epoch:
			renewed = began
		case err == nil:
			return sqldb.ErrLeaseLost
		case time.Since(renewed) > config.Lease:
			return err
		}
	}
}

// resign stores what was folded, if that is quickly done.
func (l *leader) resign(ctx context.Context) {
	if l.state.watermark <= l.stored.Watermark || len(l.state.lossy) > 0 {
		return
	}
	if err := l.checkpoint(ctx); err != nil {
		slog.WarnContext(ctx, "the last events are folded again by the next leader", "error", err)
	}
}

// work folds what is new and makes new lists where it is time to. It reports whether there is
// more to do than to wait for events.
func (l *leader) work(ctx context.Context) (more bool, err error) {
	snap := l.shelf.Current()
	if snap.Revision() == 0 {
		return false, nil // not loaded, or an empty store
	}
	l.want(ctx, needsOf(inForce(snap, l.builtin)))
	l.state.advance(l.now().UnixMicro())
	if err := l.catchUp(ctx); err != nil {
		return false, err
	}
	if err := l.repair(ctx, l.state); err != nil {
		return false, err
	}
	if since := time.Since(l.published); since >= l.config.Interval &&
		(time.Since(l.refreshed) >= refreshEvery || l.state.changed() || snap.Revision() != l.revision) {
		if err := l.publish(ctx, snap); err != nil {
			return false, err
		}
	}
	if (len(l.state.newStats) > 0 || l.stats == nil) && time.Since(l.counted) >= 3*l.config.Interval {
		if err := l.publishStats(ctx); err != nil {
			return false, err
		}
	}
	if l.due() {
		if err := l.checkpoint(ctx); err != nil {
			return false, err
		}
	}
	if l.next != nil {
		err = l.refold(ctx)
	}
	return l.next != nil, err
}
