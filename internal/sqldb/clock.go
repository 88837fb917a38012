package sqldb

import (
	"sync"
	"sync/atomic"
	"time"
)

// drift is how fast two clocks may run apart, as a fraction: what an observation is worth
// fades with it.
const drift = 100e-6

// Clock is the one clock of the service: the database's time, carried by the process's
// monotonic clock between polls and while the database is away.
type Clock struct {
	now atomic.Pointer[observation]
	mu  sync.Mutex // of those who observe
}

// observation says that the database's time was database when the local time was local, to
// within half of the time it took to ask.
type observation struct {
	local, database time.Time
	uncertain       time.Duration
}

// NewClock gives a clock that follows the process's time until it is set.
func NewClock() *Clock {
	c := &Clock{}
	now := time.Now()
	c.now.Store(&observation{local: now, database: now.Round(0).UTC(), uncertain: 1<<63 - 1})
	return c
}

// Now is the current time, UTC.
func (c *Clock) Now() time.Time {
	o := c.now.Load()
	return o.database.Add(time.Since(o.local))
}

// Observe sets the clock by a database time read between two local times. An answer that
// took so long that it says less than the clock already knows is left out.
func (c *Clock) Observe(before, database, after time.Time) {
	took := after.Sub(before)
	if took < 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.now.Load()
	if known := o.uncertain; known < time.Hour {
		known += time.Duration(float64(after.Sub(o.local)) * drift)
		if took/2 > known {
			// Unless the two cannot both be true: the database's clock was set.
			here := o.database.Add(after.Add(-took / 2).Sub(o.local))
			if apart := database.Sub(here).Abs(); apart <= took/2+known {
				return
			}
		}
	}
	c.now.Store(&observation{local: before.Add(took / 2), database: database.Round(0).UTC(), uncertain: took / 2})
}
