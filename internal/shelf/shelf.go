package shelf

import (
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/changes"
)

// Shelf holds the current snapshot. It is a changes.Applier.
type Shelf struct {
	current atomic.Pointer[Snapshot]
	stats   atomic.Pointer[stats]
	order   atomic.Pointer[[]uint32] // slots by name, of the first that many slots
	index   *index
	// withdrawn is the highest revision a gate was closed until.
	withdrawn atomic.Int64
	// vocabularies counts the states of the genres there have been, in previews too.
	vocabularies atomic.Uint64

	writing sync.Mutex // over Load, Withdraw, Apply, SetStats
	sorting sync.Mutex // over renewing order
}

var _ changes.Applier = (*Shelf)(nil)

// New gives an empty shelf at revision 0.
func New() *Shelf {
	s := &Shelf{index: newIndex()}
	s.current.Store(&Snapshot{shelf: s})
	s.stats.Store(&stats{})
	s.order.Store(new([]uint32))
	return s
}

// Current is the newest snapshot; it never changes.
func (s *Shelf) Current() *Snapshot { return s.current.Load() }

// Version changes whenever the film in the slot changes or its gate is closed, after the
// change is visible. A page made after reading the versions of its films, and whose
// versions are still the same, is still right.
func (s *Shelf) Version(slot uint32) uint64 {
	cells := *s.index.cells.Load()
	if int(slot/chunk) >= len(cells) {
		return 0
	}
	return cells[slot/chunk][slot%chunk].version.Load()
}

// editorial collects changes to everything but films.
type editorial struct {
	genres   map[string]**pb.Genre
	charts   map[string]**pb.Chart
	sections map[string]**pb.Section
	layouts  map[string]**pb.Layout
	releases map[string]**pb.Release
	touched  bool
}

// add takes a resource that is no film. Kinds this version does not know are passed over, so
// that it can run beside a newer one.
func (c *editorial) add(r changes.Resource) error {
	c.touched = true
	switch prefix, _, _ := strings.Cut(r.Name, "/"); prefix {
	case "genres":
		return put(&c.genres, r, &pb.Genre{})
	case "charts":
		return put(&c.charts, r, &pb.Chart{})
	case "sections":
		return put(&c.sections, r, &pb.Section{})
	case "layouts":
		return put(&c.layouts, r, &pb.Layout{})
	case "releases":
		return put(&c.releases, r, &pb.Release{})
	}
	return nil
}

// put decodes r into m and notes it; a body that is absent or broken notes an absence.
func put[M message](into *map[string]*M, r changes.Resource, m M) error {
	if *into == nil {
		*into = map[string]*M{}
	}
	(*into)[r.Name] = nil
	if r.Body == nil {
		return nil
	}
	if err := proto.Unmarshal(r.Body, m); err != nil {
		return fmt.Errorf("%s at revision %d: %w", r.Name, r.Revision, err)
	}
	(*into)[r.Name] = &m
	return nil
}

// apply renews the kinds of next.
func (c *editorial) apply(next *Snapshot) {
	if !c.touched {
		return
	}
	next.editorial = max(next.revision, next.editorial+1)
	if len(c.genres) > 0 {
		next.vocabulary = next.shelf.vocabularies.Add(1)
	}
	next.genres = next.genres.with(c.genres)
	next.charts = next.charts.with(c.charts)
	next.sections = next.sections.with(c.sections)
	next.layouts = next.layouts.with(c.layouts)
	next.releases = next.releases.with(c.releases)
}

// loading is one film on its way to its place.
type loading struct {
	changes.Resource
	cell *cell
	slot uint32
	into **Entry
}

// loadBatch is how many films are decoded at once. Their entries lie in one piece of memory,
// and their words in another, in the order of loading, which is by name: scans then run along
// them. The price is that a piece, and the old bodies in it, lives until all its films were
// changed.
const loadBatch = 64

// together moves the words of a batch into one piece of memory.
func together(entries []Entry) {
	n := 0
	for i := range entries {
		n += len(entries[i].words)
	}
	all := make([]word, 0, n)
	for i := range entries {
		from := len(all)
		all = append(all, entries[i].words...)
		entries[i].words = all[from:len(all):len(all)]
	}
}

// Load implements changes.Applier. Films are decoded on all cores.
func (s *Shelf) Load(revision int64, next func() (changes.Resource, bool)) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	old := s.current.Load()
	loaded := &Snapshot{shelf: s, revision: revision, applied: revision, editorial: old.editorial, vocabulary: s.vocabularies.Add(1)}

	batches := make(chan []loading, 2*runtime.GOMAXPROCS(0))
	failed := make(chan error, 1)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for batch := range batches {
				entries := make([]Entry, len(batch))
				for i, l := range batch {
					e := &entries[i]
					if err := e.fill(l.slot, l.cell, l.Resource); err != nil {
						select {
						case failed <- err:
						default:
						}
						continue
					}
					*l.into = e
				}
				together(entries)
			}
		})
	}
	rest := editorial{touched: true}
	var batch []loading
	var err error
	for r, ok := next(); ok && err == nil && len(failed) == 0; r, ok = next() {
		if !strings.HasPrefix(r.Name, "films/") {
			err = rest.add(r)
			continue
		}
		slot := s.index.add(r.Name)
		loaded.grow(slot + 1)
		batch = append(batch, loading{r, s.index.cell(slot), slot, &loaded.chunks[slot/chunk][slot%chunk]})
		if len(batch) == loadBatch {
			batches <- batch
			batch = make([]loading, 0, loadBatch)
		}
	}
	batches <- batch
	close(batches)
	workers.Wait()
	select {
	case err = <-failed:
	default:
	}
	if err != nil {
		return fmt.Errorf("shelf: load: %w", err)
	}
	loaded.grow(s.index.used)
	rest.apply(loaded)
	s.slotsByName(loaded)
	s.show(old, loaded)
	return nil
}

// show makes a loaded snapshot current.
func (s *Shelf) show(old, loaded *Snapshot) {
	s.current.Store(loaded)
	// A store that went back is another store: what was closed in the old one says nothing
	// here, and would hide films until its revisions are reached.
	another := loaded.revision < old.revision
	if another {
		s.withdrawn.Store(0)
	}
	for slot := range s.index.used {
		c := s.index.cell(slot)
		if another {
			c.closed.Store(0)
		}
		c.version.Add(1)
	}
}

// grow makes room for slots films; the chunks are fresh or already the snapshot's own.
func (s *Snapshot) grow(slots uint32) {
	for uint32(len(s.chunks))*chunk < slots {
		s.chunks = append(s.chunks, new([chunk]*Entry))
	}
	s.slots = max(s.slots, slots)
}

// Withdraw implements changes.Applier. Films not known yet are closed too: they may be on
// their way.
func (s *Shelf) Withdraw(revision int64, names []string) {
	s.writing.Lock()
	defer s.writing.Unlock()
	var closed []*cell
	for _, name := range names {
		if strings.HasPrefix(name, "films/") {
			c := s.index.cell(s.index.add(name))
			c.closed.Store(max(c.closed.Load(), revision))
			closed = append(closed, c)
		}
	}
	s.withdrawn.Store(max(s.withdrawn.Load(), revision))
	for _, c := range closed {
		c.version.Add(1)
	}
}

// Apply implements changes.Applier. A body that does not decode hides its film and is
// logged: the store holds what this version cannot read.
func (s *Shelf) Apply(revision int64, changed []changes.Resource) {
	s.writing.Lock()
	defer s.writing.Unlock()
	next, touched := s.current.Load().with(revision, changed)
	next.applied = revision
	s.current.Store(next)
	for _, c := range touched {
		c.version.Add(1)
	}
}

// with gives the snapshot after some changes, and the cells of the films among them. The
// writer's lock must be held.
func (s *Snapshot) with(revision int64, changed []changes.Resource) (*Snapshot, []*cell) {
	next := *s
	next.revision = revision
	next.chunks = slices.Clone(next.chunks)
	own := make(map[uint32]bool, 4) // chunks that are next's alone
	var rest editorial
	var touched []*cell
	for _, r := range changed {
		if !strings.HasPrefix(r.Name, "films/") {
			if err := rest.add(r); err != nil {
				slog.Error("a stored resource cannot be read and is left out", "error", err)
			}
			continue
		}
		slot := s.shelf.index.add(r.Name)
		for at := uint32(len(next.chunks)); at <= slot/chunk; at++ {
			own[at] = true // grow makes it
		}
		next.grow(slot + 1)
		if at := slot / chunk; !own[at] {
			copied := *next.chunks[at]
			next.chunks[at], own[at] = &copied, true
		}
		c := s.shelf.index.cell(slot)
		next.chunks[slot/chunk][slot%chunk] = entryOrNone(slot, c, r)
		touched = append(touched, c)
	}
	rest.apply(&next)
	return &next, touched
}

// With gives the snapshot as it would be after some changes under a revision; nothing else
// changes. The revision should be above the current one: the gate hides a film older than
// its last withdrawal.
func (s *Snapshot) With(revision int64, changed []changes.Resource) *Snapshot {
	s.shelf.writing.Lock() // a film that is new gets its slot
	defer s.shelf.writing.Unlock()
	changed = slices.Clone(changed)
	for i := range changed {
		changed[i].Revision = revision
	}
	next, _ := s.with(revision, changed)
	return next
}

// Of gives a snapshot that stands alone, for example of the past: withdrawals since do not
// close its gate, it has no counts, and its slots and versions are not those of a Shelf.
func Of(revision int64, resources []changes.Resource) (*Snapshot, error) {
	s := New()
	err := s.Load(revision, func() (r changes.Resource, ok bool) {
		if len(resources) == 0 {
			return r, false
		}
		r, resources = resources[0], resources[1:]
		return r, true
	})
	return s.Current(), err
}

func entryOrNone(slot uint32, c *cell, r changes.Resource) *Entry {
	if r.Body == nil {
		return nil
	}
	e, err := newEntry(slot, c, r)
	if err != nil {
		slog.Error("a stored film cannot be read and is hidden", "error", err)
		return nil
	}
	return e
}

// SetStats replaces the films' counts. The messages must not be changed afterwards.
func (s *Shelf) SetStats(counts map[string]*pb.FilmStats) {
	s.writing.Lock()
	defer s.writing.Unlock()
	st := &stats{bySlot: make([]*pb.FilmStats, s.index.used)}
	for name, counts := range counts {
		if slot, ok := s.index.find(name); ok {
			st.bySlot[slot] = counts
			continue
		}
		if st.late == nil {
			st.late = map[string]*pb.FilmStats{}
		}
		st.late[name] = counts
	}
	s.stats.Store(st)
}
