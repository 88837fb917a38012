package edge

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"time"
)

const (
	// longestWait is how long the first in the queue of a gate may have waited before further
	// calls are refused, and mostWaiting, per processor, how many may wait at all.
	longestWait = 100 * time.Millisecond
	mostWaiting = 16
)

// gate lets calls whose work grows with the catalogue in one per processor, first come
// first served. They take thousands of times what a page takes: side by side they would all
// be late, and what the others wait for a processor does not tell, because such work steps
// aside for them. A nil gate lets everybody in.
type gate struct {
	mu    sync.Mutex
	free  int
	queue []*waiter
}

type waiter struct {
	since time.Time
	turn  chan struct{}
}

func newGate() *gate { return &gate{free: runtime.GOMAXPROCS(0)} }

// full reports whether a call that comes now is refused.
func (g *gate) full() bool {
	if g == nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.queue) > 0 && time.Since(g.queue[0].since) > longestWait || len(g.queue) >= mostWaiting*runtime.GOMAXPROCS(0)
}

// enter waits for the call's turn. Whoever gets nil must leave.
func (g *gate) enter(ctx context.Context) error {
	if g == nil {
		return nil
	}
	if g.full() {
		return overloaded()
	}
	g.mu.Lock()
	if g.free > 0 {
		g.free--
		g.mu.Unlock()
		return nil
	}
	w := &waiter{time.Now(), make(chan struct{})}
	g.queue = append(g.queue, w)
	g.mu.Unlock()
	select {
	case <-w.turn:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	i := slices.Index(g.queue, w)
	if i >= 0 {
		g.queue = slices.Delete(g.queue, i, i+1)
	}
	g.mu.Unlock()
	if i < 0 { // its turn came all the same
		g.leave()
	}
	return ctx.Err()
}

// leave gives the turn to the next one.
func (g *gate) leave() {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.queue) == 0 {
		g.free++
		return
	}
	close(g.queue[0].turn)
	g.queue = slices.Delete(g.queue, 0, 1)
}
