package listing

import (
	"runtime"
	"sync"
	"sync/atomic"
	"weak"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/generations"
	"github.com/aitheater/theater/internal/shelf"
)

// noSlot stands for a film that is in a list and not on the shelf.
const noSlot = ^uint32(0)

// ranking is a list with its films' slots, by raw position.
type ranking struct {
	slots []uint32
	// unknown says that some film was not on the shelf at the revision.
	unknown  bool
	revision int64
	// whole is up to which raw position no film is left out that somebody could see; behind it
	// stands what fills genres, content types and children's bands.
	whole int

	// What is below is for the ranks of titles, which ask where a film stands for an audience.

	// place gives a film's raw position by slot; made when first asked for.
	place func() map[uint32]int
	// state is the list's films as of a revision, audiences holds *visible by audience.
	state     atomic.Pointer[state]
	audiences sync.Map
}

// rankings remembers the slots of each list for as long as the list itself is in use.
type rankings struct {
	m sync.Map // weak.Pointer[generations.List] → *ranking
}

// of gives the slots of a list. Films that came to the shelf after it are found with the
// revision that brings them.
func (r *rankings) of(l *generations.List, snap *shelf.Snapshot) *ranking {
	k := weak.Make(l)
	if v, ok := r.m.Load(k); ok {
		if have := v.(*ranking); !have.unknown || have.revision == snap.Revision() {
			return have
		}
	}
	made := &ranking{slots: make([]uint32, len(l.Entries)), revision: snap.Revision(), whole: min(l.Head, len(l.Entries))}
	for i := range l.Entries {
		slot, ok := snap.Slot(l.Entries[i].Film)
		if !ok {
			slot, made.unknown = noSlot, true
		}
		made.slots[i] = slot
		if l.Entries[i].Rank > 0 {
			made.whole = max(made.whole, i+1)
		}
	}
	made.place = sync.OnceValue(func() map[uint32]int {
		at := make(map[uint32]int, len(made.slots))
		for i, slot := range made.slots {
			at[slot] = i
		}
		return at
	})
	if _, replaced := r.m.Swap(k, made); !replaced {
		runtime.AddCleanup(l, func(k weak.Pointer[generations.List]) { r.m.Delete(k) }, k)
	}
	return made
}

// sieve is which films of a list are asked for.
type sieve struct {
	genre   string
	content pb.Film_ContentType
	minForm pb.Film_Form
	match   *shelf.Filter
	// skip and taken are slots left out; taken grows while a page is made.
	skip, taken map[uint32]bool
}

func (f sieve) pass(e *shelf.Entry) bool {
	return (f.minForm != pb.Film_FEATURE || e.Form == pb.Film_FEATURE) &&
		(f.content == pb.Film_CONTENT_TYPE_UNSPECIFIED || e.ContentType == f.content) &&
		(f.genre == "" || e.HasGenre(f.genre))
}

// plain reports whether a list for the viewer is the chart itself: the only case in which
// places in other generations and scores mean what they say.
func (f sieve) plain(v *shelf.Viewer) bool {
	return v.Audience == pb.Viewer_ADULT && f.genre == "" && f.content == pb.Film_CONTENT_TYPE_UNSPECIFIED
}

// walk goes down a raw list and stops at the films the viewer may see.
type walk struct {
	g     *glance
	list  *generations.List // nil outside charts
	slots []uint32
	sieve sieve
	pos   int // raw position of the next entry to look at
	// end is where to stop: of a filtered list, where a film may be left out. That is looked up
	// when whole is reached.
	end, whole int
}

// walk begins at a raw position of a list; no list is an empty one.
func (r *rankings) walk(g *glance, l *generations.List, f sieve, from int) *walk {
	w := &walk{g: g, list: l, sieve: f, pos: from}
	if l == nil {
		return w
	}
	ranking := r.of(l, g.snap)
	g.unknown = g.unknown || ranking.unknown
	w.slots, w.end, w.whole = ranking.slots, len(ranking.slots), ranking.whole
	if f.plain(g.viewer) {
		w.end = min(w.end, l.Head)
	}
	return w
}

// next gives the next film of the list that the viewer may see.
func (w *walk) next() (pick, bool) {
	for w.pos < w.end {
		i := w.pos
		if w.list != nil && i >= w.whole {
			w.end, w.whole = min(w.end, w.filled()), len(w.slots)
			if i >= w.end {
				break
			}
		}
		w.pos++
		slot := w.slots[i]
		if slot == noSlot || w.sieve.skip[slot] || w.sieve.taken[slot] {
			continue
		}
		e := w.g.entry(slot)
		if e == nil || !w.sieve.pass(e) || w.sieve.match != nil && !w.sieve.match.MatchIn(w.g.snap, e, w.g.now, w.g.viewer.Market) {
			continue
		}
		if verdict := w.g.gate(e); verdict != shelf.Hidden {
			return pick{film: e, verdict: verdict, entry: w.entry(i)}, true
		}
	}
	return pick{}, false
}

// filled gives the raw position from which on a film that is asked for may be left out of the
// list: where everything that would have it taken in has its fill. It may come out too small, as
// films are counted here that the ranker did not (they were hidden, or came into the genre since).
func (w *walk) filled() int {
	kids, f := w.g.viewer.Audience != pb.Viewer_ADULT, w.sieve
	var genre, content, band int
	for i, slot := range w.slots {
		lacking := f.genre != "" && genre < generations.Fill ||
			f.content != pb.Film_CONTENT_TYPE_UNSPECIFIED && content < generations.Fill || kids && band < generations.Fill
		if !lacking {
			return i
		}
		if slot == noSlot {
			continue
		}
		e := w.g.snap.At(slot)
		if e == nil {
			continue
		}
		if e.HasGenre(f.genre) {
			genre++
		}
		if e.ContentType == f.content {
			content++
		}
		if kids && e.Cleared(w.g.viewer.Band) {
			band++
		}
	}
	return len(w.slots)
}

// entry gives the list's entry at a raw position, nil where there is no list.
func (w *walk) entry(i int) *generations.Entry {
	if w.list == nil || i < 0 {
		return nil
	}
	return &w.list.Entries[i]
}

// chart gives a chart's definition: the stored one, else the built-in one, else nil.
func (s *Service) chart(snap *shelf.Snapshot, name string) *pb.Chart {
	if c := snap.Chart(name); c != nil {
		return c
	}
	for _, c := range s.Charts.Charts() {
		if c.GetName() == name {
			return c
		}
	}
	return nil
}
