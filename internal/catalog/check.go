package catalog

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/texts"
)

// maxFields bounds the broken rules one error lists: errors travel in headers.
const maxFields = 20

// checker collects the rules a message breaks.
type checker struct{ broken []fault.Field }

func (c *checker) add(path, rule string, args ...any) {
	c.broken = append(c.broken, fault.Field{Path: path, Rule: fmt.Sprintf(rule, args...)})
}

func (c *checker) require(path, rule string) {
	if rule != "" {
		c.broken = append(c.broken, fault.Field{Path: path, Rule: rule})
	}
}

func (c *checker) tag(path, tag string) {
	if tag != "" && !texts.WellFormed(tag) {
		c.add(path, "must be a well-formed BCP-47 language tag")
	}
}

func (c *checker) err() error {
	if len(c.broken) == 0 {
		return nil
	}
	return fault.InvalidFields(c.broken[:min(len(c.broken), maxFields)])
}

// checkFilm says which rules a whole film breaks; nil for none. path is where the film
// stands in the request, known says which genres exist.
func checkFilm(path string, f *pb.Film, known func(slug string) bool) error {
	c := &checker{}
	c.times(path, f)
	if len(c.broken) > 0 { // the schema's rules cannot be asked about impossible times
		return c.err()
	}
	if err := c.schema(path, f); err != nil {
		return err
	}
	c.localizations(path, f)
	for i, slug := range f.GetGenres() {
		if idForm.MatchString(slug) && !known(slug) {
			c.add(fmt.Sprintf("%s.genres[%d]", path, i), "unknown genre %q", slug)
		}
	}
	c.broken = append(c.broken, texts.Tags(path+".languages", f.GetLanguages())...)
	c.date(path+".release_date", f.GetReleaseDate())
	for i, w := range f.GetAvailability() {
		c.window(fmt.Sprintf("%s.availability[%d]", path, i), w)
	}
	for i, credit := range f.GetCredits() {
		p := fmt.Sprintf("%s.credits[%d]", path, i)
		c.require(p+".role", texts.Title(credit.GetRole()))
		if len(credit.GetNames()) == 0 {
			c.add(p+".names", "must hold at least one name")
		}
		c.broken = append(c.broken, texts.Titles(p+".names", credit.GetNames())...)
	}
	for i, a := range f.GetArtwork() {
		c.artwork(fmt.Sprintf("%s.artwork[%d]", path, i), a)
	}
	for i, m := range f.GetMedia() {
		p := fmt.Sprintf("%s.media[%d]", path, i)
		if m.GetDuration() != nil && m.GetDuration().AsDuration() <= 0 {
			c.add(p+".duration", "must be greater than 0s")
		}
		c.broken = append(c.broken, texts.Tags(p+".audio_languages", m.GetAudioLanguages())...)
		c.broken = append(c.broken, texts.Tags(p+".subtitle_languages", m.GetSubtitleLanguages())...)
	}
	for i, id := range f.GetExternalIds() {
		if strings.EqualFold(id.GetScheme(), "EIDR") {
			c.require(fmt.Sprintf("%s.external_ids[%d].value", path, i), eidrRule(id.GetValue()))
		}
	}
	return c.err()
}

// schema asks the rules written in the schema.
func (c *checker) schema(path string, m proto.Message) error {
	err := protovalidate.Validate(m)
	var broken *protovalidate.ValidationError
	if err == nil || !errors.As(err, &broken) {
		return err
	}
	for _, v := range broken.Violations {
		at := path
		if field := protovalidate.FieldPathString(v.Proto.GetField()); field != "" {
			at += "." + field
		}
		if len(at) > 300 {
			at = strings.ToValidUTF8(at[:300], "") + "…"
		}
		c.require(at, v.Proto.GetMessage())
	}
	return nil
}

// times refuses durations and timestamps that no calendar has.
func (c *checker) times(path string, f *pb.Film) {
	c.duration(path+".runtime", f.GetRuntime())
	for i, w := range f.GetAvailability() {
		p := fmt.Sprintf("%s.availability[%d]", path, i)
		c.timestamp(p+".announce_time", w.GetAnnounceTime())
		c.timestamp(p+".start_time", w.GetStartTime())
		c.timestamp(p+".end_time", w.GetEndTime())
	}
	c.timestamp(path+".minors_review.review_time", f.GetMinorsReview().GetReviewTime())
	for i, m := range f.GetMedia() {
		c.duration(fmt.Sprintf("%s.media[%d].duration", path, i), m.GetDuration())
	}
}

func (c *checker) duration(path string, d *durationpb.Duration) {
	if d != nil && d.CheckValid() != nil {
		c.add(path, "must be a duration of at most 10,000 years with 0 to 999,999,999 nanoseconds")
	}
}

func (c *checker) timestamp(path string, t *timestamppb.Timestamp) {
	if t != nil && t.CheckValid() != nil {
		c.add(path, "must be a time between the years 1 and 9999 with 0 to 999,999,999 nanoseconds")
	}
}

func (c *checker) localizations(path string, f *pb.Film) {
	c.tag(path+".default_language", f.GetDefaultLanguage())
	at := path + ".localizations"
	keys, broken := texts.Keys(at, f.GetLocalizations())
	c.broken = append(c.broken, broken...)
	for _, key := range keys {
		c.localization(texts.At(at, key), f.GetLocalizations()[key])
	}
}

func (c *checker) localization(path string, l *pb.FilmLocalization) {
	c.require(path+".title", texts.Title(l.GetTitle()))
	c.require(path+".synopsis", texts.Body(l.GetSynopsis()))
	c.require(path+".tagline", texts.Body(l.GetTagline()))
}

func (c *checker) date(path string, d *pb.PartialDate) {
	switch {
	case d == nil || d.GetDay() == 0:
	case d.GetMonth() == 0:
		c.add(path+".day", "needs a month")
	case d.GetMonth() >= 1 && d.GetMonth() <= 12 && d.GetDay() <= 31 && !exists(d):
		c.add(path+".day", "%04d-%02d has no day %d", d.GetYear(), d.GetMonth(), d.GetDay())
	}
}

func exists(d *pb.PartialDate) bool {
	t := time.Date(int(d.GetYear()), time.Month(d.GetMonth()), int(d.GetDay()), 0, 0, 0, 0, time.UTC)
	return t.Day() == int(d.GetDay())
}

func (c *checker) window(path string, w *pb.Availability) {
	announce, start, end := w.GetAnnounceTime(), w.GetStartTime(), w.GetEndTime()
	if end != nil && start != nil && !end.AsTime().After(start.AsTime()) {
		c.add(path+".end_time", "must be after start_time")
	}
	switch {
	case announce == nil:
	case start == nil:
		c.add(path+".announce_time", "needs a start_time; without one the film is there already")
	case announce.AsTime().After(start.AsTime()):
		c.add(path+".announce_time", "must not be after start_time")
	}
}

func (c *checker) artwork(path string, a *pb.Artwork) {
	u, err := url.Parse(a.GetUri())
	switch {
	case a.GetUri() == "": // said by the schema
	case err != nil,
		u.Scheme == "" && (!strings.HasPrefix(a.GetUri(), "/") || strings.HasPrefix(a.GetUri(), "//")),
		u.Scheme != "" && u.Scheme != "http" && u.Scheme != "https",
		u.Scheme != "" && u.Host == "":
		c.add(path+".uri", `must be an http or https address, or a path that begins with one "/"`)
	}
	c.tag(path+".language", a.GetLanguage())
}
