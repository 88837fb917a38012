package listing

import (
	"math"
	"sync/atomic"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/generations"
	"github.com/aitheater/theater/internal/shelf"
)

// audience is everything the gate knows of a viewer. The market is not always the list's.
type audience struct {
	market   string
	audience pb.Viewer_Audience
	band     pb.Film_AgeBand
	minForm  pb.Film_Form
}

// visible is a whole list as one audience sees it.
type visible struct {
	rank map[uint32]int32 // by slot, dense from 1
	glance
	made int64 // revision
	// checked is the newest revision at which nothing of it had changed.
	checked atomic.Int64
}

// ranks gives a film's places in the built-in charts among what the viewer can see; 0 = none.
func (s *Service) ranks(snap *shelf.Snapshot, v *shelf.Viewer, slot uint32) []int32 {
	charts := s.Charts.Charts()
	out := make([]int32, len(charts))
	for i, c := range charts {
		out[i] = s.rank(snap, v, c, slot)
	}
	return out
}

func (s *Service) rank(snap *shelf.Snapshot, v *shelf.Viewer, builtin *pb.Chart, slot uint32) int32 {
	list := s.Generations.Latest(builtin.GetName(), v.Market)
	if list == nil {
		return 0
	}
	minForm := builtin.GetMinForm()
	if stored := snap.Chart(builtin.GetName()); stored != nil {
		minForm = stored.GetMinForm()
	}
	a := audience{market: v.Market, audience: v.Audience, band: v.Band, minForm: minForm}
	return s.visible(snap, v, a, list).rank[slot]
}

// visible gives the list as the audience sees it now. Films change with revisions, so that
// between two there is nothing to compare; a gate that closes ahead of its revision moves the
// numbers with it.
func (s *Service) visible(snap *shelf.Snapshot, v *shelf.Viewer, a audience, list *generations.List) *visible {
	r := s.rankings.of(list, snap)
	now := s.Clock.Now()
	if x, ok := r.ranks.Load(a); ok {
		have := x.(*visible)
		if now.UnixMicro() < have.edge {
			if have.checked.Load() == snap.Revision() {
				return have
			}
			if older(snap, have.seen, have.made) && unchanged(s.Shelf, have.seen) {
				have.checked.Store(snap.Revision())
				return have
			}
		}
	}
	made := &visible{made: snap.Revision(), rank: map[uint32]int32{}, glance: glance{versions: s.Shelf, snap: snap, viewer: v, now: now, edge: math.MaxInt64}}
	w := s.rankings.walk(&made.glance, list, sieve{minForm: a.minForm}, 0)
	for p, ok := w.next(); ok; p, ok = w.next() {
		made.rank[p.film.Slot] = int32(len(made.rank) + 1)
	}
	made.checked.Store(snap.Revision())
	made.snap = nil // an old snapshot must not be kept alive
	if s.Shelf.Current() == snap {
		r.ranks.Store(a, made)
	}
	return made
}
