// Package shelf is the catalogue in memory: every film, genre, chart, section, layout and
// release as of one revision, and the gate every film passes on its way to a viewer.
package shelf

import (
	"time"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/changes"
)

// Shelf holds the current snapshot. It is a changes.Applier.
type Shelf struct{}

// New gives an empty shelf at revision 0.
func New() *Shelf { panic("to be written") }

// Current is the newest snapshot; it never changes.
func (s *Shelf) Current() *Snapshot { panic("to be written") }

// Version changes whenever the film in the slot changes or its gate is closed, after the
// change is visible. A page made after reading the versions of its films, and whose
// versions are still the same, is still right.
func (s *Shelf) Version(slot uint32) uint64 { panic("to be written") }

// Load implements changes.Applier.
func (s *Shelf) Load(revision int64, next func() (changes.Resource, bool)) error {
	panic("to be written")
}

// Withdraw implements changes.Applier.
func (s *Shelf) Withdraw(revision int64, names []string) { panic("to be written") }

// Apply implements changes.Applier.
func (s *Shelf) Apply(revision int64, changes []changes.Resource) { panic("to be written") }

// SetStats replaces the films' counts.
func (s *Shelf) SetStats(stats map[string]*pb.FilmStats) { panic("to be written") }

// Snapshot is the catalogue as of one revision. It never changes, but that a gate may close.
type Snapshot struct{}

// Revision is the newest revision in the snapshot.
func (s *Snapshot) Revision() int64 { panic("to be written") }

// Slot gives a film's slot, which it keeps for the life of the process, deleted or not.
func (s *Snapshot) Slot(film string) (slot uint32, ok bool) { panic("to be written") }

// Slots is one more than the highest slot in use.
func (s *Snapshot) Slots() uint32 { panic("to be written") }

// At gives the film in a slot, deleted ones too; nil when there is none.
func (s *Snapshot) At(slot uint32) *Entry { panic("to be written") }

// Film gives a film by name, deleted ones too; nil when there is none.
func (s *Snapshot) Film(name string) *Entry { panic("to be written") }

// Genre, Chart, Section, Layout and Release give a resource by name ("genres/drama"), nil
// when there is none. The messages are shared: do not change them.
func (s *Snapshot) Genre(name string) *pb.Genre { panic("to be written") }

// Chart gives a stored chart.
func (s *Snapshot) Chart(name string) *pb.Chart { panic("to be written") }

// Section gives a stored section.
func (s *Snapshot) Section(name string) *pb.Section { panic("to be written") }

// Layout gives a stored layout.
func (s *Snapshot) Layout(name string) *pb.Layout { panic("to be written") }

// Release gives a stored release.
func (s *Snapshot) Release(name string) *pb.Release { panic("to be written") }

// Genres, Charts, Sections, Layouts and Releases are all of a kind, by name.
func (s *Snapshot) Genres() []*pb.Genre { panic("to be written") }

// Charts are all stored charts, by name.
func (s *Snapshot) Charts() []*pb.Chart { panic("to be written") }

// Sections are all stored sections, by name.
func (s *Snapshot) Sections() []*pb.Section { panic("to be written") }

// Layouts are all stored layouts, by name.
func (s *Snapshot) Layouts() []*pb.Layout { panic("to be written") }

// Releases are all stored releases, by name.
func (s *Snapshot) Releases() []*pb.Release { panic("to be written") }

// EditorialRevision changes whenever anything but a film changes.
func (s *Snapshot) EditorialRevision() int64 { panic("to be written") }

// Entry is one film: its bytes, and the facts lists and the gate ask for.
type Entry struct {
	Slot     uint32
	Name     string
	Revision int64
	// Body is the wire form of the Film; do not change it.
	Body        []byte
	State       pb.Film_State
	Deleted     bool
	Form        pb.Film_Form
	ContentType pb.Film_ContentType
	AgeBand     pb.Film_AgeBand
	// Runtime is in seconds; 0 = unknown.
	Runtime float64
	// FirstPublish is in microseconds since 1970; 0 = never published.
	FirstPublish int64
}

// Film decodes the film, without stats; the message is the caller's.
func (e *Entry) Film() *pb.Film { panic("to be written") }

// HasGenre reports whether the film has the genre, by slug.
func (e *Entry) HasGenre(slug string) bool { panic("to be written") }

// FirstStart is the earliest window start for a market in microseconds since 1970; ok is
// false when no window is open to the market at any time. A window without start gives 0.
func (e *Entry) FirstStart(market string) (start int64, ok bool) { panic("to be written") }

// Stats are the film's counts, never nil.
func (s *Snapshot) Stats(slot uint32) *pb.FilmStats { panic("to be written") }

// Viewer is for whom a page is made, made ready for the gate.
type Viewer struct {
	Market    string
	Audience  pb.Viewer_Audience // ADULT or KIDS
	Band      pb.Film_AgeBand    // KIDS: ALL to AGE_16
	Languages []string           // best first
}

// NewViewer makes a viewer of a narrowed message (auth.Narrow).
func NewViewer(v *pb.Viewer) *Viewer { panic("to be written") }

// Verdict is what the gate says of a film.
type Verdict uint8

// The verdicts. The zero value hides.
const (
	Hidden  Verdict = iota
	Coming          // announced, not yet playable
	Playing         // playable
)

// Gate says whether the viewer may see the film at a time, and until when at the most the
// verdict holds if the film does not change. It does not allocate.
func (s *Snapshot) Gate(v *Viewer, e *Entry, now time.Time) (verdict Verdict, until time.Time) {
	panic("to be written")
}

// AppendCard appends the wire form of the film's FilmCard for a viewer who may see it.
func (s *Snapshot) AppendCard(b []byte, e *Entry, v *Viewer, verdict Verdict, now time.Time) []byte {
	panic("to be written")
}

// Filter is a compiled AIP-160 filter over films.
type Filter struct{}

// CompileFilter parses and checks a filter; errors are faults with reason INVALID_FILTER.
func CompileFilter(source string) (*Filter, error) { panic("to be written") }

// Match reports whether the film matches at a time.
func (f *Filter) Match(s *Snapshot, e *Entry, now time.Time) bool { panic("to be written") }

// Order is a compiled order_by; ties go by name.
type Order struct{}

// CompileOrder parses and checks an order_by; errors are faults with reason INVALID_ORDER_BY.
func CompileOrder(source string) (*Order, error) { panic("to be written") }

// Select gives the slots of the films that match, in order; deleted ones only if asked.
func (s *Snapshot) Select(f *Filter, o *Order, now time.Time, deleted bool) []uint32 {
	panic("to be written")
}

// MatchLanguage picks the best of the available BCP-47 tags for the wanted ones (best first,
// matched case-insensitively and by script: zh-HK takes zh-Hant before zh-Hans), else fallback.
func MatchLanguage(wanted, available []string, fallback string) string { panic("to be written") }
