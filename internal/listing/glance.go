package listing

import (
	"math"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/shelf"
)

// glance is one look over the catalogue on behalf of one viewer at one time. Everything an
// answer says about films goes through it, and it notes what the answer depends on.
type glance struct {
	// versions is where versions are noted from; nil where the answer will not be kept.
	versions *shelf.Shelf
	snap     *shelf.Snapshot
	viewer   *shelf.Viewer
	now      time.Time

	seen    []stamp
	edge    int64 // microseconds since 1970
	unknown bool
}

// look begins a glance over the current snapshot.
func (s *Service) look(v *pb.Viewer) *glance {
	now := s.Clock.Now()
	return &glance{versions: s.Shelf, snap: s.Shelf.Current(), viewer: shelf.NewViewer(v), now: now, edge: math.MaxInt64}
}

// entry gives the film in a slot, nil when there is none, and notes that it was looked at.
func (g *glance) entry(slot uint32) *shelf.Entry {
	if g.versions != nil {
		g.seen = append(g.seen, stamp{version: g.versions.Version(slot), slot: slot})
	}
	return g.snap.At(slot)
}

// gate asks the gate for a film got from entry, and notes until when the verdict holds.
func (g *glance) gate(e *shelf.Entry) shelf.Verdict {
	verdict, until := g.snap.Gate(g.viewer, e, g.now)
	g.until(until)
	return verdict
}

// named gives a film the viewer may see; a name that is not in the catalogue is noted, for the
// answer changes when it comes.
func (g *glance) named(name string) (*shelf.Entry, shelf.Verdict) {
	slot, ok := g.slot(name)
	if !ok {
		return nil, shelf.Hidden
	}
	e := g.entry(slot)
	if e == nil {
		return nil, shelf.Hidden
	}
	return e, g.gate(e)
}

func (g *glance) slot(name string) (uint32, bool) {
	slot, ok := g.snap.Slot(name)
	g.unknown = g.unknown || !ok
	return slot, ok
}

// until notes a coming time from which the answer may be another one.
func (g *glance) until(t time.Time) {
	if t.After(g.now) {
		g.edge = min(g.edge, t.UnixMicro())
	}
}

// within reports whether at is in [start, end), and notes the next edge. Unset is open.
func (g *glance) within(start, end *timestamppb.Timestamp, at time.Time) bool {
	if start != nil && at.Before(start.AsTime()) {
		g.until(start.AsTime())
		return false
	}
	if end == nil {
		return true
	}
	g.until(end.AsTime())
	return at.Before(end.AsTime())
}

// card appends the film's card.
func (g *glance) card(b []byte, e *shelf.Entry, verdict shelf.Verdict) []byte {
	return g.snap.AppendCard(b, e, g.viewer, verdict, g.now)
}
