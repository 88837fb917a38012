package shelf

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unique"

	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/bcp47"
	"github.com/aitheater/theater/internal/changes"
	"github.com/aitheater/theater/internal/disclosure"
)

// word is a string that many films share; equal words are the same word.
type word = unique.Handle[string]

// Entry is one film: its bytes, and the facts lists and the gate ask for.
type Entry struct {
	// What gate and filters ask first lies together.
	Revision    int64
	State       pb.Film_State
	Form        pb.Film_Form
	ContentType pb.Film_ContentType
	AgeBand     pb.Film_AgeBand
	review      pb.Film_AgeBand // band the film was cleared for; unset = not cleared
	Deleted     bool
	reviewed    bool // there is a minors' review, whatever it says
	disclosed   bool // the disclosure is known
	class       disclosure.Class
	barred      bars
	Slot        uint32
	release     int32  // yyyymmdd; 0 = unset
	window      window // the first by start; closed at all times when there is none
	more        []window
	words       []word             // of all lists, one after the other
	lists       [listCount]listEnd // where each ends in words

	taken []country // markets in which the film is taken down
	bans  []ban
	cell  *cell

	// Runtime is in seconds; 0 = unknown.
	Runtime float64
	// FirstPublish is in microseconds since 1970; 0 = never published.
	FirstPublish              int64
	created, updated, deleted int64 // microseconds; 0 = unset

	source    word         // digital source type
	titles    string       // folded titles, between zero bytes
	title     string       // the folded title in the default language: a part of titles
	languages []*bcp47.Tag // of the localizations with a title, sorted
	fallback  int16        // the default language among them; −1 = there is none

	Name string
	// Body is the wire form of the Film; do not change it.
	Body    []byte
	ratings []rating
	cards   atomic.Pointer[card]
}

// The lists of words of a film.
const (
	genreList = iota
	tagList
	originList
	spokenList
	toolList
	licensorList
	listCount
)

type listEnd = uint16

// list gives one of the lists of words.
func (e *Entry) list(which int) []word {
	from := listEnd(0)
	if which > 0 {
		from = e.lists[which-1]
	}
	return e.words[from:e.lists[which]]
}

// ban closes a market by its showing rules.
type ban struct {
	market   country
	from, to int64
}

// newEntry extracts a film's facts.
func newEntry(slot uint32, c *cell, r changes.Resource) (*Entry, error) {
	e := &Entry{}
	return e, e.fill(slot, c, r)
}

// fill extracts a film's facts into an empty entry.
func (e *Entry) fill(slot uint32, c *cell, r changes.Resource) error {
	f := &pb.Film{}
	if err := proto.Unmarshal(r.Body, f); err != nil {
		return fmt.Errorf("%s at revision %d: %w", r.Name, r.Revision, err)
	}
	source := f.GetProvenance().GetDigitalSourceType()
	e.Slot, e.Name, e.Revision, e.Body, e.cell = slot, c.name, r.Revision, r.Body, c
	e.State, e.Deleted, e.Form = f.GetState(), f.DeleteTime != nil, f.GetForm()
	e.ContentType, e.AgeBand = f.GetContentType(), f.GetAgeBand()
	e.review, e.reviewed = f.GetMinorsReview().GetAgeBand(), f.MinorsReview != nil
	e.disclosed, e.class = disclosure.Known(source), disclosure.ClassOf(f)
	e.source = unique.Make(disclosure.NormalizeSourceType(source))
	e.Runtime = float64(f.GetRuntime().GetSeconds()) + float64(f.GetRuntime().GetNanos())/1e9
	e.release, e.FirstPublish = dayNumber(f.GetReleaseDate()), micros(f.GetFirstPublishTime())
	e.created, e.updated, e.deleted = micros(f.GetCreateTime()), micros(f.GetUpdateTime()), micros(f.GetDeleteTime())
	e.ratings, e.barred = ratingsOf(f)
	e.setWindows(f)
	e.setWords(f)
	e.setTitles(f)
	for _, m := range f.GetTakenDownMarkets() {
		e.taken = append(e.taken, countryOf(m))
	}
	for _, b := range disclosure.Bans(f) {
		e.bans = append(e.bans, ban{countryOf(b.Market), b.From, b.To})
	}
	return nil
}

func (e *Entry) setWords(f *pb.Film) {
	var texts [64]string // most films have fewer words
	all := texts[:0]
	end := func(list int) { e.lists[list] = listEnd(len(all)) }
	all = append(all, f.GetGenres()...)
	end(genreList)
	all = append(all, f.GetTags()...)
	end(tagList)
	all = append(all, f.GetCountries()...)
	end(originList)
	all = append(all, f.GetLanguages()...)
	end(spokenList)
	add := func(list int, text string) {
		if text != "" && !slices.Contains(all[e.lists[list-1]:], text) {
			all = append(all, text)
		}
	}
	for _, st := range f.GetProvenance().GetStages() {
		add(toolList, st.GetTool())
	}
	end(toolList)
	for _, a := range f.GetAvailability() {
		add(licensorList, a.GetLicensor())
	}
	end(licensorList)
	e.words = make([]word, len(all))
	for i, text := range all {
		e.words[i] = unique.Make(text)
	}
}

func (e *Entry) setTitles(f *pb.Film) {
	tags := make([]string, 0, len(f.GetLocalizations()))
	for tag, l := range f.GetLocalizations() {
		if l.GetTitle() != "" {
			tags = append(tags, tag)
		}
	}
	slices.Sort(tags)
	e.languages = bcp47.ParseAll(tags)
	e.fallback = int16(min(len(tags), 1) - 1)
	var folded strings.Builder
	from, to := 0, 0
	for i, tag := range tags {
		folded.WriteByte(0)
		start := folded.Len()
		folded.WriteString(fold(f.GetLocalizations()[tag].GetTitle()))
		if i == 0 || strings.EqualFold(tag, f.GetDefaultLanguage()) {
			e.fallback, from, to = int16(i), start, folded.Len()
		}
	}
	folded.WriteByte(0)
	e.titles = folded.String()
	e.title = e.titles[from:to]
}

// fold makes titles comparable without regard to case.
func fold(s string) string { return strings.ToLower(s) }

// dayNumber makes a partial date an ordered number, yyyymmdd; unknown parts count as the
// first. 0 = unset.
func dayNumber(d *pb.PartialDate) int32 {
	if d.GetYear() == 0 {
		return 0
	}
	return d.GetYear()*10000 + max(d.GetMonth(), 1)*100 + max(d.GetDay(), 1)
}

// Film decodes the film, without stats; the message is the caller's.
func (e *Entry) Film() *pb.Film {
	f := &pb.Film{}
	if err := proto.Unmarshal(e.Body, f); err != nil {
		panic(fmt.Sprintf("shelf: %s decoded once and not again: %v", e.Name, err)) // someone wrote into Body
	}
	return f
}

// HasGenre reports whether the film has the genre, by slug.
func (e *Entry) HasGenre(slug string) bool {
	for _, g := range e.list(genreList) {
		if g.Value() == slug {
			return true
		}
	}
	return false
}

// Genres are the film's genre slugs, in its own order.
func (e *Entry) Genres() []string {
	out := make([]string, len(e.list(genreList)))
	for i, g := range e.list(genreList) {
		out[i] = g.Value()
	}
	return out
}

// Updated is when the film was last changed.
func (e *Entry) Updated() time.Time { return time.UnixMicro(e.updated).UTC() }
