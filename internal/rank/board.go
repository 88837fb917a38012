package rank

import (
	"slices"
	"strings"
	"time"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/generations"
	"github.com/aitheater/theater/internal/shelf"
)

// board makes the lists of a generation out of a state and the catalogue. It remembers, from
// one generation to the next, what did not change.
type board struct {
	revision int64 // of the shelf the facts are of
	facts    []fact
	filmOf   []uint32 // film by the shelf's slot
	genres   map[string]uint16
	// place is each film's place by name, masks are by place: see quota.
	place []uint32
	masks []uint64
	named []string // the markets availabilities name
	made  map[listKey]made
	// short are lists of the world's that do not suit a market, offers how many films markets
	// have: see share.
	short  map[listKey]bool
	offers map[string]views

	pick picker
	// inAll is up to how many entries all lists together may have for each to hold every film.
	inAll int
}

// fact is what lists ask of a film; the zero value is a film that is not in the catalogue.
type fact struct {
	entry   *shelf.Entry
	runtime float64
	live    bool // in the catalogue and not deleted
	child   bool // some child might be let in
	form    pb.Film_Form
	content uint8
	genres  []uint16
}

type listKey struct{ chart, market string }

// made is a list, and how far the ledger was folded for it.
type made struct {
	list      *generations.List
	watermark int64
}

func newBoard() *board {
	return &board{revision: -1, genres: map[string]uint16{}, made: map[listKey]made{}, short: map[listKey]bool{}, inAll: entriesInAll}
}

// lists gives all lists there shall be: of every chart in force, for each market with
// events of its own (NEW: that an availability names) and for the world. Only those that may
// have moved are made anew, unless all is set.
func (b *board) lists(charts []*pb.Chart, s *state, snap *shelf.Snapshot, win windows, before func(chart, market string) *generations.List, all bool) []*generations.List {
	all = all || snap.Revision() != b.revision
	b.learn(s, snap)
	b.pick.begin(b, s, snap)
	b.pick.room = min(generations.MaxEntries, b.inAll/max(b.count(charts, s), 1))
	var out []*generations.List
	seen := map[listKey]bool{}
	for _, name := range b.markets(s) {
		m := s.numbers(name)
		b.pick.enter(b.sharing(s, name))
		for _, c := range charts {
			key := listKey{c.Name, name}
			if !b.wanted(c, key, m == s.markets[0]) {
				continue
			}
			seen[key] = true
			old := b.made[key].list
			if old == nil {
				old = before(c.Name, name)
			}
			moved := m.changed && c.Kind != pb.Chart_NEW
			if all || moved || b.made[key].list == nil || old.ChartRevisionID != c.RevisionId {
				l := b.list(c, s, m, name, win, old)
				if name == generations.World && c.Kind != pb.Chart_NEW {
					l = b.share(c, s, l, win, old)
				}
				b.made[key] = made{l, s.watermark}
			}
			out = append(out, b.made[key].list)
		}
	}
	for key := range b.made {
		if !seen[key] {
			delete(b.made, key)
		}
	}
	for _, m := range s.markets {
		m.changed = false
	}
	return out
}

// count is how many lists there shall be.
func (b *board) count(charts []*pb.Chart, s *state) (n int) {
	for _, name := range b.markets(s) {
		ofWorld := s.numbers(name) == s.markets[0]
		for _, c := range charts {
			if b.wanted(c, listKey{c.Name, name}, ofWorld) {
				n++
			}
		}
	}
	return n
}

// numbers are those a market's lists are made of: its own, or the world's where nobody did
// anything there.
func (s *state) numbers(name string) *market {
	if id, known := s.marketID[name]; known && s.markets[id].has() {
		return s.markets[id]
	}
	return s.markets[0]
}

// wanted reports whether there is such a list: the world's, NEW for each market that an
// availability names, and for markets with events of their own, or whom the world's list does not
// suit (see share), the others too.
func (b *board) wanted(c *pb.Chart, key listKey, ofWorld bool) bool {
	switch {
	case key.market == generations.World:
		return true
	case c.Kind == pb.Chart_NEW:
		return slices.Contains(b.named, key.market)
	}
	return !ofWorld || b.short[key]
}

// markets are all that may have a list of their own, the world first.
func (b *board) markets(s *state) []string {
	names := slices.Clone(b.named)
	for _, m := range s.markets[1:] {
		if m.has() {
			names = append(names, m.name)
		}
	}
	slices.Sort(names)
	return append([]string{generations.World}, slices.Compact(names)...)
}

// sharing are the markets that look at a market's list: itself, or, for the world's, those
// named without events of their own and one that stands for all others.
func (b *board) sharing(s *state, name string) []string {
	if name != generations.World {
		return []string{name}
	}
	shared := []string{b.unnamed(s)}
	for _, m := range b.named {
		if id, known := s.marketID[m]; !known || !s.markets[id].has() {
			shared = append(shared, m)
		}
	}
	return shared
}

// unnamed is a market that no availability names and that has no events: what is shown there
// is shown everywhere.
func (b *board) unnamed(s *state) string {
	for a := 'Z'; a >= 'A'; a-- {
		for c := 'Z'; c >= 'A'; c-- {
			name := string([]rune{a, c})
			if _, known := s.marketID[name]; !known && !slices.Contains(b.named, name) {
				return name
			}
		}
	}
	return generations.World
}

// learn brings the facts up to the shelf's revision.
func (b *board) learn(s *state, snap *shelf.Snapshot) {
	if b.revision == snap.Revision() && len(b.facts) == len(s.films) {
		return
	}
	b.revision = snap.Revision()
	b.named, b.offers = snap.Markets(), map[string]views{}
	for slot := range snap.Slots() {
		e := snap.At(slot)
		for int(slot) >= len(b.filmOf) {
			b.filmOf = append(b.filmOf, noFilm)
		}
		if e == nil {
			continue
		}
		if b.filmOf[slot] == noFilm {
			b.filmOf[slot] = s.film(e.Name)
		}
		film := b.filmOf[slot]
		for int(film) >= len(b.facts) {
			b.facts = append(b.facts, fact{})
		}
		if b.facts[film].entry != e {
			b.facts[film] = b.factOf(e)
		}
	}
	for len(b.facts) < len(s.films) {
		b.facts = append(b.facts, fact{})
	}
	b.sortNames(s.films)
	b.masks = slices.Grow(b.masks[:0], len(b.facts))[:len(b.facts)]
	for film, place := range b.place {
		b.masks[place] = b.facts[film].mask()
	}
}

const noFilm = ^uint32(0)

func (b *board) factOf(e *shelf.Entry) fact {
	f := fact{
		entry: e, runtime: e.Runtime, live: !e.Deleted, form: e.Form, content: uint8(e.ContentType),
		child: e.AgeBand >= pb.Film_ALL && e.AgeBand < pb.Film_AGE_18,
	}
	for _, slug := range e.Genres() {
		id, known := b.genres[slug]
		if !known {
			id = uint16(len(b.genres))
			b.genres[slug] = id
		}
		f.genres = append(f.genres, id)
	}
	return f
}

// sortNames gives every film its place by name.
func (b *board) sortNames(films []string) {
	if len(b.place) == len(films) {
		return
	}
	byName := make([]uint32, len(films))
	for i := range byName {
		byName[i] = uint32(i)
	}
	slices.SortFunc(byName, func(x, y uint32) int { return strings.Compare(films[x], films[y]) })
	b.place = make([]uint32, len(films))
	for i, film := range byName {
		b.place[film] = uint32(i)
	}
}

// list makes one list, for the market that was entered, of m's numbers.
func (b *board) list(c *pb.Chart, s *state, m *market, name string, win windows, old *generations.List) *generations.List {
	b.pick.candidates = b.pick.candidates[:0]
	scale := b.candidates(c, s, m, name, win)
	l := &generations.List{Chart: c.Name, Market: name, ChartRevisionID: c.RevisionId, ComputeTime: time.UnixMicro(s.at).UTC(), HalfLife: scoreHalfLife(c)}
	l.Entries, l.Head = b.pick.take(scale)
	remember(l, old)
	return l
}

// scoreHalfLife is how fast a chart's scores fall when nothing happens: RISING's are a quotient
// of two that fall.
func scoreHalfLife(c *pb.Chart) time.Duration {
	switch c.Kind {
	case pb.Chart_HOT:
		return c.HalfLife.AsDuration()
	case pb.Chart_RISING:
		short, long := float64(c.HalfLife.AsDuration()), float64(c.LongHalfLife.AsDuration())
		return time.Duration(1 / (1/short - 1/long))
	}
	return 0
}

// remember sets the previous and best ranks from the list before, if that was of the same
// definition.
func remember(l, old *generations.List) {
	if old == nil || old.ChartRevisionID != l.ChartRevisionID {
		for i := range l.Entries {
			l.Entries[i].Peak = l.Entries[i].Rank
		}
		return
	}
	before := make(map[string]*generations.Entry, min(old.Head, len(old.Entries)))
	for i := range old.Entries {
		if e := &old.Entries[i]; e.Rank|e.Peak != 0 {
			before[e.Film] = e
		}
	}
	for i := range l.Entries {
		e := &l.Entries[i]
		e.Peak = e.Rank
		if o := before[e.Film]; o != nil {
			e.Previous = o.Rank
			if e.Peak == 0 || o.Peak != 0 && o.Peak < e.Peak {
				e.Peak = o.Peak
			}
		}
	}
}
