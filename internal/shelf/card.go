package shelf

import (
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/bcp47"
	"github.com/aitheater/theater/internal/disclosure"
)

// Field numbers of FilmCard that depend on viewer and time.
const (
	cardRating         = 9
	cardDisclosure     = 13
	cardAvailableTime  = 16
	cardAvailableUntil = 17
)

// card is the part of a film's card that is the same for all viewers of a language, encoded.
// It is made when first asked for and kept with the entry.
type card struct {
	language   int16 // index in Entry.languages
	length     uint8 // of the list that begins here
	vocabulary uint64
	wire       []byte
	next       *card
}

// maxCards bounds the languages a film's cards are kept in at a time.
const maxCards = 8

// AppendCard appends the wire form of the film's FilmCard for a viewer who may see it.
func (s *Snapshot) AppendCard(b []byte, e *Entry, v *Viewer, verdict Verdict, now time.Time) []byte {
	at, m := now.UnixMicro(), countryOf(v.Market)
	language := e.languageFor(v)
	b = append(b, s.card(e, language)...)
	for i := range e.ratings {
		if r := &e.ratings[i]; r.market == m {
			b = append(b, r.wire...)
		}
	}
	b = protowire.AppendTag(b, cardDisclosure, protowire.BytesType)
	b = protowire.AppendBytes(b, disclosure.CardNotice(e.class, v.Market, e.noticeLanguage(v, language), at).Wire)
	if verdict == Coming {
		if start := e.startsAt(m, at); start != never {
			b = appendTime(b, cardAvailableTime, start)
		}
	}
	if verdict == Playing {
		if end := e.playsUntil(m, at); end-at <= int64(leaving) {
			b = appendTime(b, cardAvailableUntil, end)
		}
	}
	return b
}

// languageFor is the index of the localization for a viewer; −1 when the film has none.
func (e *Entry) languageFor(v *Viewer) int16 {
	if i := bcp47.Match(v.wants(), e.languages); i >= 0 {
		return int16(i)
	}
	return e.fallback
}

// noticeLanguage is the viewer's language for disclosures, else the film's.
func (e *Entry) noticeLanguage(v *Viewer, language int16) string {
	if i := bcp47.Match(v.wants(), noticeLanguages); i >= 0 {
		return disclosure.Languages[i]
	}
	if language >= 0 {
		if i := bcp47.Match(e.languages[language:language+1], noticeLanguages); i >= 0 {
			return disclosure.Languages[i]
		}
	}
	return ""
}

// card gives the encoded card without the parts that depend on viewer and time.
func (s *Snapshot) card(e *Entry, language int16) []byte {
	head := e.cards.Load()
	for c := head; c != nil; c = c.next {
		if c.language == language && c.vocabulary == s.vocabulary {
			return c.wire
		}
	}
	wire, err := proto.MarshalOptions{Deterministic: true}.Marshal(s.buildCard(e, e.Film(), language))
	if err != nil {
		panic("shelf: a card of valid strings does not encode: " + err.Error())
	}
	c := &card{language: language, length: 1, vocabulary: s.vocabulary, wire: slices.Clip(wire)}
	if head != nil && head.vocabulary == s.vocabulary && head.length < maxCards {
		c.next, c.length = head, head.length+1
	}
	e.cards.CompareAndSwap(head, c) // losing to another reader costs one more encoding
	return wire
}

// tag is the language's tag as stored; empty when there is none.
func (e *Entry) tag(language int16) string {
	if language < 0 {
		return ""
	}
	return e.languages[language].Text
}

func (s *Snapshot) buildCard(e *Entry, f *pb.Film, language int16) *pb.FilmCard {
	tag := e.tag(language)
	text := f.GetLocalizations()[tag]
	c := &pb.FilmCard{
		Name: f.GetName(), Title: text.GetTitle(), Tagline: text.GetTagline(),
		Posters:   artwork(f, pb.Artwork_POSTER, tag),
		Backdrops: artwork(f, pb.Artwork_BACKDROP, tag),
		Runtime:   f.GetRuntime(), ContentType: f.GetContentType(), AgeBand: f.GetAgeBand(),
		ReleaseDate: f.GetReleaseDate(), Awards: f.GetAwards(), Language: tag,
	}
	for _, g := range f.GetGenres() {
		c.Genres = append(c.Genres, &pb.CardGenre{Genre: g, Name: s.genreName(g, []string{tag, f.GetDefaultLanguage()})})
	}
	for _, credit := range f.GetCredits() {
		if role := credit.GetRole(); role != "creator" && role != "director" {
			continue
		}
		if name := textIn(credit.GetNames(), []string{tag, f.GetDefaultLanguage()}); name != "" && !slices.Contains(c.Creators, name) {
			c.Creators = append(c.Creators, name)
		}
	}
	return c
}

// GenreName is a genre's display name in the best of the languages, else in English, else in
// any, else its slug.
func (s *Snapshot) genreName(slug string, languages []string) string {
	if name := textIn(s.Genre("genres/"+slug).GetDisplayNames(), append(languages, "en")); name != "" {
		return name
	}
	return slug
}

// GenreName is a genre's name for a viewer: in the best of their languages, else in English,
// else in any, else the slug.
func (s *Snapshot) GenreName(slug string, v *Viewer) string {
	return s.genreName(slug, slices.Clip(v.Languages))
}

// Text is the text for a viewer of texts by language: in the best of their languages, else in
// English, else in the first by tag.
func (v *Viewer) Text(texts map[string]string) string {
	return textIn(texts, append(slices.Clip(v.Languages), "en"))
}

func textIn(texts map[string]string, languages []string) string {
	if len(texts) == 0 {
		return ""
	}
	tags := slices.Sorted(maps.Keys(texts))
	return texts[bcp47.Best(languages, tags, tags[0])]
}

// artwork gives all pictures of a kind in one language: that of the card, else without text,
// else the film's default, else that of the first.
func artwork(f *pb.Film, kind pb.Artwork_Kind, tag string) []*pb.Artwork {
	var all, out []*pb.Artwork
	var tags []string
	neutral := false
	for _, a := range f.GetArtwork() {
		if a.GetKind() != kind {
			continue
		}
		all = append(all, a)
		if a.GetLanguage() == "" {
			neutral = true
		} else {
			tags = append(tags, a.GetLanguage())
		}
	}
	if len(all) == 0 {
		return nil
	}
	language := bcp47.Best([]string{tag}, tags, "")
	if language == "" && !neutral {
		language = bcp47.Best([]string{f.GetDefaultLanguage()}, tags, tags[0])
	}
	for _, a := range all {
		if a.GetLanguage() == language {
			out = append(out, a)
		}
	}
	return out
}

func appendTime(b []byte, field protowire.Number, micros int64) []byte {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	seconds, nanos := floorDiv(micros, 1e6)
	size := 0
	if seconds != 0 {
		size += 1 + protowire.SizeVarint(uint64(seconds))
	}
	if nanos != 0 {
		size += 1 + protowire.SizeVarint(uint64(nanos*1000))
	}
	b = protowire.AppendVarint(b, uint64(size))
	if seconds != 0 {
		b = protowire.AppendTag(b, 1, protowire.VarintType)
		b = protowire.AppendVarint(b, uint64(seconds))
	}
	if nanos != 0 {
		b = protowire.AppendTag(b, 2, protowire.VarintType)
		b = protowire.AppendVarint(b, uint64(nanos*1000))
	}
	return b
}

// floorDiv divides, rounding down; the remainder is never negative.
func floorDiv(a, b int64) (quotient, remainder int64) {
	quotient, remainder = a/b, a%b
	if remainder < 0 {
		return quotient - 1, remainder + b
	}
	return quotient, remainder
}

// encodeRating is the rating as a field of FilmCard.
func encodeRating(r *pb.Rating) []byte {
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(r)
	if err != nil {
		panic("shelf: a decoded rating does not encode: " + err.Error())
	}
	return slices.Clip(protowire.AppendBytes(protowire.AppendTag(nil, cardRating, protowire.BytesType), body))
}

// MatchLanguage picks the best of the available BCP-47 tags for the wanted ones (best first,
// matched case-insensitively and by script: zh-HK takes zh-Hant before zh-Hans), else fallback.
func MatchLanguage(wanted, available []string, fallback string) string {
	return bcp47.Best(wanted, available, fallback)
}
