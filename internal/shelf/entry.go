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

// intern gives the one copy of a string that is kept while any film uses it.
func intern(s string) string {
	if s == "" {
		return ""
	}
	return unique.Make(s).Value()
}

func words(texts []string) []word {
	if len(texts) == 0 {
		return nil
	}
	out := make([]word, len(texts))
	for i, t := range texts {
		out[i] = unique.Make(t)
	}
	return out
}

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

	cell      *cell
	review    pb.Film_AgeBand // band the film was cleared for; unset = not cleared
	reviewed  bool            // there is a minors' review, whatever it says
	disclosed bool            // the disclosure is known
	class     disclosure.Class

	windows []window
	taken   []country // markets in which the film is taken down
	bans    []ban
	ratings []rating

	languages []*bcp47.Tag // of the localizations with a title, sorted
	fallback  int16        // the default language among them; −1 = there is none
	titles    string       // folded titles, between zero bytes
	title     string       // the folded title in the default language: a part of titles

	genres, tags, origins, spoken, tools []word
	source                               word // digital source type
	release                              int32
	created, updated, deleted            int64 // micros; 0 = unset

	cards atomic.Pointer[card]
}

// ban closes a market by its showing rules.
type ban struct {
	market   country
	from, to int64
}

// newEntry extracts a film's facts.
func newEntry(slot uint32, c *cell, r changes.Resource) (*Entry, error) {
	f := &pb.Film{}
	if err := proto.Unmarshal(r.Body, f); err != nil {
		return nil, fmt.Errorf("%s at revision %d: %w", r.Name, r.Revision, err)
	}
	e := &Entry{
		Slot: slot, Name: c.name, Revision: r.Revision, Body: r.Body,
		State: f.GetState(), Deleted: f.DeleteTime != nil, Form: f.GetForm(),
		ContentType: f.GetContentType(), AgeBand: f.GetAgeBand(),
		Runtime: float64(f.GetRuntime().GetSeconds()) + float64(f.GetRuntime().GetNanos())/1e9, FirstPublish: micros(f.GetFirstPublishTime()),

		cell: c, review: f.GetMinorsReview().GetAgeBand(), reviewed: f.MinorsReview != nil,
		disclosed: disclosure.Known(f.GetProvenance().GetDigitalSourceType()), class: disclosure.ClassOf(f),
		windows: windowsOf(f), ratings: ratingsOf(f),
		genres: words(f.GetGenres()), tags: words(f.GetTags()), origins: words(f.GetCountries()), spoken: words(f.GetLanguages()),
		source:  unique.Make(disclosure.NormalizeSourceType(f.GetProvenance().GetDigitalSourceType())),
		release: dayNumber(f.GetReleaseDate()),
		created: micros(f.GetCreateTime()), updated: micros(f.GetUpdateTime()), deleted: micros(f.GetDeleteTime()),
	}
	for _, m := range f.GetTakenDownMarkets() {
		e.taken = append(e.taken, countryOf(m))
	}
	for _, b := range disclosure.Bans(f) {
		e.bans = append(e.bans, ban{countryOf(b.Market), b.From, b.To})
	}
	for _, st := range f.GetProvenance().GetStages() {
		if w := unique.Make(st.GetTool()); st.GetTool() != "" && !slices.Contains(e.tools, w) {
			e.tools = append(e.tools, w)
		}
	}
	e.setTitles(f)
	return e, nil
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
	for _, g := range e.genres {
		if g.Value() == slug {
			return true
		}
	}
	return false
}

// Genres are the film's genre slugs, in its own order.
func (e *Entry) Genres() []string {
	out := make([]string, len(e.genres))
	for i, g := range e.genres {
		out[i] = g.Value()
	}
	return out
}

// Updated is when the film was last changed.
func (e *Entry) Updated() time.Time { return time.UnixMicro(e.updated).UTC() }
