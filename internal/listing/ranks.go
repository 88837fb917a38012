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

// state is the films of a list, all of them, as they were when nothing of them had changed yet.
type state struct {
	seen []stamp
	made int64 // revision
	// checked is the newest revision at which nothing had changed.
	checked atomic.Int64
}

// visible is a whole list as one audience sees it.
type visible struct {
	state *state
	edge  int64
	rank  []uint16 // by raw position, dense from 1; 0 = hidden
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
	r := s.rankings.of(list, snap)
	i, ok := r.place()[slot]
	if !ok {
		return 0
	}
	return int32(s.visible(snap, v, a, list, r).rank[i])
}

// visible gives the list as the audience sees it now.
func (s *Service) visible(snap *shelf.Snapshot, v *shelf.Viewer, a audience, list *generations.List, r *ranking) *visible {
	now := s.Clock.Now()
	st := s.state(snap, r)
	if x, ok := r.audiences.Load(a); ok {
		if have := x.(*visible); have.state == st && now.UnixMicro() < have.edge {
			return have
		}
	}
	g := &glance{snap: snap, viewer: v, now: now, edge: math.MaxInt64}
	made := &visible{state: st, rank: make([]uint16, len(r.slots))}
	w := s.rankings.walk(g, list, sieve{minForm: a.minForm}, 0)
	rank := uint16(0)
	for _, ok := w.next(); ok; _, ok = w.next() {
		rank++
		made.rank[w.pos-1] = rank
	}
	made.edge = g.edge
	r.audiences.Store(a, made)
	return made
}

// state gives the state of a list's films in a snapshot. Films change with revisions, so that
// between two there is nothing to compare; a gate that closes ahead of its revision moves the
// ranks of other films with it.
func (s *Service) state(snap *shelf.Snapshot, r *ranking) *state {
	if have := r.state.Load(); have != nil {
		if have.checked.Load() == snap.Revision() {
			return have
		}
		if older(snap, have.seen, have.made) && unchanged(s.Shelf, have.seen) {
			have.checked.Store(snap.Revision())
			return have
		}
	}
	made := &state{seen: make([]stamp, 0, len(r.slots)), made: snap.Revision()}
	for _, slot := range r.slots {
		if slot != noSlot {
			made.seen = append(made.seen, stamp{version: s.Shelf.Version(slot), slot: slot})
		}
	}
	made.checked.Store(snap.Revision())
	if s.Shelf.Current() == snap {
		r.state.Store(made)
	}
	return made
}
