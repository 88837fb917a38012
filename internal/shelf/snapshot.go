package shelf

import (
	"cmp"

	pb "github.com/aitheater/theater/api/theater/v1"
)

// Snapshot is the catalogue as of one revision. It never changes, but that a gate may close
// and that counts are renewed.
type Snapshot struct {
	shelf    *Shelf
	revision int64
	// applied is revision, but in previews that of the snapshot they come from.
	applied   int64
	editorial int64
	// vocabulary changes with the genres, which stand in encoded cards.
	vocabulary uint64

	slots  uint32
	chunks []*[chunk]*Entry

	genres   kind[*pb.Genre]
	charts   kind[*pb.Chart]
	sections kind[*pb.Section]
	layouts  kind[*pb.Layout]
	releases kind[*pb.Release]
}

// Revision is the newest revision in the snapshot.
func (s *Snapshot) Revision() int64 { return s.revision }

// EditorialRevision changes whenever anything but a film changes.
func (s *Snapshot) EditorialRevision() int64 { return s.editorial }

// Slot gives a film's slot, which it keeps for the life of the process, deleted or not.
func (s *Snapshot) Slot(film string) (slot uint32, ok bool) {
	slot, ok = s.shelf.index.find(film)
	if !ok || s.At(slot) == nil {
		return 0, false
	}
	return slot, true
}

// Slots is one more than the highest slot in use. Some slots below may be empty.
func (s *Snapshot) Slots() uint32 { return s.slots }

// At gives the film in a slot, deleted ones too; nil when there is none.
func (s *Snapshot) At(slot uint32) *Entry {
	if slot >= s.slots {
		return nil
	}
	return s.chunks[slot/chunk][slot%chunk]
}

// Film gives a film by name, deleted ones too; nil when there is none.
func (s *Snapshot) Film(name string) *Entry {
	slot, ok := s.shelf.index.find(name)
	if !ok {
		return nil
	}
	return s.At(slot)
}

// Genre, Chart, Section, Layout and Release give a resource by name ("genres/drama"), nil
// when there is none. The messages are shared: do not change them.
func (s *Snapshot) Genre(name string) *pb.Genre { return s.genres.byName[name] }

// Chart gives a stored chart.
func (s *Snapshot) Chart(name string) *pb.Chart { return s.charts.byName[name] }

// Section gives a stored section.
func (s *Snapshot) Section(name string) *pb.Section { return s.sections.byName[name] }

// Layout gives a stored layout.
func (s *Snapshot) Layout(name string) *pb.Layout { return s.layouts.byName[name] }

// Release gives a stored release.
func (s *Snapshot) Release(name string) *pb.Release { return s.releases.byName[name] }

// Genres, Charts, Sections, Layouts and Releases are all of a kind, by name. The slices are
// shared: do not change them.
func (s *Snapshot) Genres() []*pb.Genre { return s.genres.sorted }

// Charts are all stored charts, by name.
func (s *Snapshot) Charts() []*pb.Chart { return s.charts.sorted }

// Sections are all stored sections, by name.
func (s *Snapshot) Sections() []*pb.Section { return s.sections.sorted }

// Layouts are all stored layouts, by name.
func (s *Snapshot) Layouts() []*pb.Layout { return s.layouts.sorted }

// Releases are all stored releases, by name.
func (s *Snapshot) Releases() []*pb.Release { return s.releases.sorted }

var noStats = &pb.FilmStats{}

// Stats are the film's counts, never nil, shared: do not change them.
func (s *Snapshot) Stats(slot uint32) *pb.FilmStats {
	st := s.shelf.stats.Load()
	if int(slot) < len(st.bySlot) && st.bySlot[slot] != nil {
		return st.bySlot[slot]
	}
	if len(st.late) > 0 {
		if e := s.At(slot); e != nil {
			return cmp.Or(st.late[e.Name], noStats)
		}
	}
	return noStats
}

// stats are the counts of all films. Those of films not on the shelf yet are late.
type stats struct {
	bySlot []*pb.FilmStats
	late   map[string]*pb.FilmStats
}
