package catalog

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/resource"
	"github.com/aitheater/theater/internal/texts"
)

// checker collects the rules a film breaks.
type checker struct{ resource.Broken }

func (c *checker) tag(path, tag string) {
	if tag != "" && !texts.WellFormed(tag) {
		c.Add(path, "must be a well-formed BCP-47 language tag")
	}
}

// checkFilm says which rules a whole film breaks; nil for none. path is where the film
// stands in the request, known says which genres exist.
func checkFilm(path string, f *pb.Film, known func(slug string) bool) error {
	broken, err := resource.Schema(path, f)
	if err != nil {
		return err
	}
	c := &checker{broken}
	c.localizations(path, f)
	for i, slug := range f.GetGenres() {
		if resource.IsID(slug) && !known(slug) {
			c.Add(fmt.Sprintf("%s.genres[%d]", path, i), "unknown genre %q", slug)
		}
	}
	c.Broken = append(c.Broken, texts.Tags(path+".languages", f.GetLanguages())...)
	c.date(path+".release_date", f.GetReleaseDate())
	for i, w := range f.GetAvailability() {
		c.window(fmt.Sprintf("%s.availability[%d]", path, i), w)
	}
	for i, credit := range f.GetCredits() {
		p := fmt.Sprintf("%s.credits[%d]", path, i)
		c.Require(p+".role", texts.Title(credit.GetRole()))
		if len(credit.GetNames()) == 0 {
			c.Add(p+".names", "must hold at least one name")
		}
		c.Broken = append(c.Broken, texts.Titles(p+".names", credit.GetNames())...)
	}
	for i, a := range f.GetArtwork() {
		c.artwork(fmt.Sprintf("%s.artwork[%d]", path, i), a)
	}
	for i, m := range f.GetMedia() {
		p := fmt.Sprintf("%s.media[%d]", path, i)
		if m.GetDuration().IsValid() && m.GetDuration().AsDuration() <= 0 {
			c.Add(p+".duration", "must be greater than 0s")
		}
		c.Broken = append(c.Broken, texts.Tags(p+".audio_languages", m.GetAudioLanguages())...)
		c.Broken = append(c.Broken, texts.Tags(p+".subtitle_languages", m.GetSubtitleLanguages())...)
	}
	for i, id := range f.GetExternalIds() {
		if strings.EqualFold(id.GetScheme(), "EIDR") {
			c.Require(fmt.Sprintf("%s.external_ids[%d].value", path, i), eidrRule(id.GetValue()))
		}
	}
	return c.Err()
}

func (c *checker) localizations(path string, f *pb.Film) {
	c.tag(path+".default_language", f.GetDefaultLanguage())
	at := path + ".localizations"
	keys, broken := texts.Keys(at, f.GetLocalizations())
	c.Broken = append(c.Broken, broken...)
	for _, key := range keys {
		c.localization(texts.At(at, key), f.GetLocalizations()[key])
	}
}

func (c *checker) localization(path string, l *pb.FilmLocalization) {
	c.Require(path+".title", texts.Title(l.GetTitle()))
	c.Require(path+".synopsis", texts.Body(l.GetSynopsis()))
	c.Require(path+".tagline", texts.Body(l.GetTagline()))
}

func (c *checker) date(path string, d *pb.PartialDate) {
	switch {
	case d == nil || d.GetDay() == 0:
	case d.GetMonth() == 0:
		c.Add(path+".day", "needs a month")
	case d.GetMonth() >= 1 && d.GetMonth() <= 12 && d.GetDay() <= 31 && !exists(d):
		c.Add(path+".day", "%04d-%02d has no day %d", d.GetYear(), d.GetMonth(), d.GetDay())
	}
}

func exists(d *pb.PartialDate) bool {
	t := time.Date(int(d.GetYear()), time.Month(d.GetMonth()), int(d.GetDay()), 0, 0, 0, 0, time.UTC)
	return t.Day() == int(d.GetDay())
}

func (c *checker) window(path string, w *pb.Availability) {
	announce, start, end := w.GetAnnounceTime(), w.GetStartTime(), w.GetEndTime()
	if end.IsValid() && start.IsValid() && !end.AsTime().After(start.AsTime()) {
		c.Add(path+".end_time", "must be after start_time")
	}
	switch {
	case announce == nil:
	case start == nil:
		c.Add(path+".announce_time", "needs a start_time; without one the film is there already")
	case announce.IsValid() && start.IsValid() && announce.AsTime().After(start.AsTime()):
		c.Add(path+".announce_time", "must not be after start_time")
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
		c.Add(path+".uri", `must be an http or https address, or a path that begins with one "/"`)
	}
	c.tag(path+".language", a.GetLanguage())
}
