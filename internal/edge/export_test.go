package edge

import (
	"context"
	"time"
)

// Shedder is the shedder by itself.
type Shedder struct{ *shedder }

// NewShedder makes one with the highest limit.
func NewShedder() Shedder { return Shedder{newShedder()} }

// Enter takes in a call of a priority by name.
func (s Shedder) Enter(p string) error {
	return s.enter(priorityNamed[p])
}

var priorityNamed = map[string]priority{"bulk": bulk, "gets": gets, "pages": pages, "vital": vital}

func (s Shedder) Knock(p string) bool         { return s.knock(priorityNamed[p]) }
func (s Shedder) Begin()                      { s.begin() }
func (s Shedder) Leave()                      { s.leave() }
func (s Shedder) Load() int64                 { return s.load() }
func (s Shedder) Adjust(waited time.Duration) { s.adjust(waited) }
func (s Shedder) SetLimit(n int64)            { s.limit.Store(n) }
func (s Shedder) Limit() int64                { return s.limit.Load() }

// SetLimit and Inflight reach the shedder of a server.
func SetLimit(s *Server, n int64) { s.door.shed.limit.Store(n) }
func Inflight(s *Server) int64    { return s.door.shed.inflight.Load() }

// Waiting are the calls whose message is not here yet.
func Waiting(s *Server) int64 { return s.door.shed.waiting.Load() }

// Quota is the quota by itself.
type Quota struct{ *quota }

// NewQuota makes one.
func NewQuota(perSecond float64) Quota {
	q, err := newQuota(perSecond)
	if err != nil {
		panic(err)
	}
	return Quota{q}
}
func (q Quota) Take(who string, now time.Time) error { return q.take(who, now) }

// Gate is a gate by itself.
type Gate struct{ *gate }

// NewGate makes one.
func NewGate() Gate                            { return Gate{newGate()} }
func (g Gate) Enter(ctx context.Context) error { return g.enter(ctx) }
func (g Gate) Leave()                          { g.leave() }

// Subject is what the audit calls the resource of a request.
func Subject(request any) string { return subject(request) }
