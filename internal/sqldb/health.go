package sqldb

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// silence is how long calls may go unanswered before the prober asks.
	silence = 120 * time.Millisecond
	// patience is how long the prober's question may go unanswered.
	patience = 250 * time.Millisecond
	// starved is how late the prober may wake and still be believed.
	starved = 100 * time.Millisecond
	// probeEvery is the pace of the prober.
	probeEvery = 40 * time.Millisecond
)

var errDown = errors.New("the database does not answer")

// health knows whether the database answers. It costs nothing while it does: each answer
// notes its time, and the prober asks only when calls are waiting without one.
type health struct {
	calls  atomic.Int64 // in flight
	answer atomic.Int64 // time of the last answer, nanoseconds since base
	base   time.Time

	mu   sync.Mutex
	down bool
	// up ends when the database goes down; a new one is made when it is back.
	up   context.Context
	fell context.CancelFunc
}

func (h *health) init(now time.Time) {
	h.base = now
	h.up, h.fell = context.WithCancel(context.Background())
}

// answered notes that the database has just answered.
func (h *health) answered() { h.answer.Store(int64(time.Since(h.base))) }

func (h *health) silentFor() time.Duration {
	return time.Since(h.base) - time.Duration(h.answer.Load())
}

// falling gives a channel that closes when the database goes down.
func (h *health) falling() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.up.Done()
}

func (h *health) isDown() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.down
}

// fall says that the database is away: it ends the calls in flight.
func (h *health) fall() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.down {
		h.down = true
		h.fell()
	}
}

func (h *health) rise() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.down {
		h.down = false
		h.up, h.fell = context.WithCancel(context.Background())
	}
}

// call gives a context that ends when the database goes down, or errDown if it is.
func (h *health) call(ctx context.Context) (context.Context, func(), error) {
	h.mu.Lock()
	down, up := h.down, h.up
	h.mu.Unlock()
	if down {
		return nil, nil, errDown
	}
	if h.calls.Add(1) == 1 {
		h.answered() // silence before the first question is no sign
	}
	ctx, cancel := context.WithCancelCause(ctx)
	forget := context.AfterFunc(up, func() { cancel(errDown) })
	return ctx, func() {
		h.calls.Add(-1)
		forget()
		cancel(nil)
	}, nil
}

// run asks for a sign of life when there is reason to, until ctx ends.
func (h *health) run(ctx context.Context, probe func(context.Context) error) {
	ticker := time.NewTicker(probeEvery)
	defer ticker.Stop()
	doubted := false // the last silence was perhaps our own
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if !h.isDown() && (h.calls.Load() == 0 || h.silentFor() < silence) {
			doubted = false
			continue
		}
		// A process that gets no time to run cannot tell the database's silence from its own;
		// one that never does must not let its callers wait for ever either.
		asked := time.Since(h.base)
		asking, cancel := context.WithTimeout(ctx, patience)
		err := probe(asking)
		if err != nil && asking.Err() == nil {
			err = probe(asking) // the line may have died and not the database
		}
		cancel()
		late := time.Since(h.base)-asked > patience+starved
		switch {
		case err == nil:
			doubted = false
			h.answered()
			h.rise()
		case late && !doubted:
			doubted = true
		case ctx.Err() == nil && time.Duration(h.answer.Load()) < asked:
			doubted = false
			h.fall()
		}
	}
}
