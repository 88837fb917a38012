package catalog

import (
	"encoding/hex"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
)

const generated = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"

// lantern is a film that meets every rule of markets without rules of their own.
func lantern() *pb.Film {
	return &pb.Film{
		DefaultLanguage: "en",
		Localizations:   map[string]*pb.FilmLocalization{"en": {Title: "The Lantern"}, "zh-Hans": {Title: "灯笼", Synopsis: "第一行\n第二行"}},
		Runtime:         durationpb.New(90 * time.Minute), ContentType: pb.Film_DRAMA, Genres: []string{"drama"},
		Availability: []*pb.Availability{{Markets: []string{"GB", "SG"}}},
		AgeBand:      pb.Film_AGE_8,
		Provenance:   &pb.Provenance{DigitalSourceType: generated},
	}
}

func at(text string) *timestamppb.Timestamp {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return timestamppb.New(t)
}

func isDrama(slug string) bool { return slug == "drama" }

// badFilms are fields no film may have: how to make them, and the path the error names.
var badFilms = []struct {
	name, path, rule string
	spoil            func(f *pb.Film)
}{
	{"unknown genre", "film.genres[1]", `unknown genre "opera"`, func(f *pb.Film) { f.Genres = []string{"drama", "opera"} }},
	{"genre twice", "film.genres", "unique", func(f *pb.Film) { f.Genres = []string{"drama", "drama"} }},
	{"genre is no slug", "film.genres[0]", "pattern", func(f *pb.Film) { f.Genres = []string{"Drama!"} }},
	{"runtime zero", "film.runtime", "greater than", func(f *pb.Film) { f.Runtime = durationpb.New(0) }},
	{"runtime negative", "film.runtime", "greater than", func(f *pb.Film) { f.Runtime = durationpb.New(-1) }},
	{"runtime of no calendar", "film.runtime", "10,000 years", func(f *pb.Film) { f.Runtime = &durationpb.Duration{Seconds: math.MaxInt64} }},
	{"runtime of two signs", "film.runtime", "nanoseconds", func(f *pb.Film) { f.Runtime = &durationpb.Duration{Seconds: 1, Nanos: -1} }},
	{"window ends before it starts", "film.availability[0].end_time", "after start_time", func(f *pb.Film) {
		f.Availability = []*pb.Availability{{StartTime: at("2026-01-02T00:00:00Z"), EndTime: at("2026-01-01T00:00:00Z")}}
	}},
	{"window of no length", "film.availability[1].end_time", "after start_time", func(f *pb.Film) {
		f.Availability = []*pb.Availability{{}, {StartTime: at("2026-01-02T00:00:00Z"), EndTime: at("2026-01-02T00:00:00Z")}}
	}},
	{"announced after the start", "film.availability[0].announce_time", "not be after", func(f *pb.Film) {
		f.Availability = []*pb.Availability{{AnnounceTime: at("2026-01-03T00:00:00Z"), StartTime: at("2026-01-02T00:00:00Z")}}
	}},
	{"announced without a start", "film.availability[0].announce_time", "needs a start_time", func(f *pb.Film) {
		f.Availability = []*pb.Availability{{AnnounceTime: at("2026-01-03T00:00:00Z")}}
	}},
	{"time of no calendar", "film.availability[0].start_time", "years 1 and 9999", func(f *pb.Film) {
		f.Availability = []*pb.Availability{{StartTime: &timestamppb.Timestamp{Seconds: math.MinInt64}}}
	}},
	{"market is no code", "film.availability[0].markets[1]", "pattern", func(f *pb.Film) {
		f.Availability = []*pb.Availability{{Markets: []string{"GB", "gb"}}}
	}},
	{"country is no code", "film.countries[0]", "pattern", func(f *pb.Film) { f.Countries = []string{"Utopia"} }},
	{"language with an underscore", "film.languages[0]", "BCP-47", func(f *pb.Film) { f.Languages = []string{"en_US"} }},
	{"default language", "film.default_language", "BCP-47", func(f *pb.Film) { f.DefaultLanguage = "english language" }},
	{"localization key", `film.localizations["en_US"]`, "BCP-47", func(f *pb.Film) { f.Localizations["en_US"] = &pb.FilmLocalization{Title: "X"} }},
	{"localization keys equal but for case", `film.localizations["en"]`, `"EN"`, func(f *pb.Film) { f.Localizations["EN"] = &pb.FilmLocalization{Title: "X"} }},
	{"title missing", `film.localizations["fr"].title`, "empty", func(f *pb.Film) { f.Localizations["fr"] = &pb.FilmLocalization{Synopsis: "X"} }},
	{"title blank", `film.localizations["en"].title`, "white space", func(f *pb.Film) { f.Localizations["en"].Title = " \u2003" }},
	{"title with a line break", `film.localizations["en"].title`, "control", func(f *pb.Film) { f.Localizations["en"].Title = "a\nb" }},
	{"title too long", `film.localizations["en"].title`, "1000", func(f *pb.Film) { f.Localizations["en"].Title = strings.Repeat("長", 1001) }},
	{"synopsis too long", `film.localizations["en"].synopsis`, "10000", func(f *pb.Film) { f.Localizations["en"].Synopsis = strings.Repeat("x", 10001) }},
	{"tagline with NUL", `film.localizations["en"].tagline`, "U+0000", func(f *pb.Film) { f.Localizations["en"].Tagline = "\x00" }},
	{"too many localizations", "film.localizations", "200", func(f *pb.Film) {
		for i := range 300 {
			f.Localizations["x-"+hex.EncodeToString([]byte{byte(i >> 8), byte(i)})] = &pb.FilmLocalization{Title: "X"}
		}
	}},
	{"month 13", "film.release_date.month", "12", func(f *pb.Film) { f.ReleaseDate = &pb.PartialDate{Year: 2020, Month: 13} }},
	{"year 0", "film.release_date.year", "1", func(f *pb.Film) { f.ReleaseDate = &pb.PartialDate{Month: 1} }},
	{"year 10000", "film.release_date.year", "9999", func(f *pb.Film) { f.ReleaseDate = &pb.PartialDate{Year: 10000} }},
	{"day without a month", "film.release_date.day", "month", func(f *pb.Film) { f.ReleaseDate = &pb.PartialDate{Year: 2020, Day: 1} }},
	{"30 February", "film.release_date.day", "2020-02", func(f *pb.Film) { f.ReleaseDate = &pb.PartialDate{Year: 2020, Month: 2, Day: 30} }},
	{"29 February of a common year", "film.release_date.day", "1900-02", func(f *pb.Film) { f.ReleaseDate = &pb.PartialDate{Year: 1900, Month: 2, Day: 29} }},
	{"age band of no list", "film.age_band", "", func(f *pb.Film) { f.AgeBand = 99 }},
	{"content type of no list", "film.content_type", "", func(f *pb.Film) { f.ContentType = -1 }},
	{"rating without a system", "film.ratings[0].system", "", func(f *pb.Film) { f.Ratings = []*pb.Rating{{Market: "GB", Code: "U"}} }},
	{"rating without a market", "film.ratings[0].market", "", func(f *pb.Film) { f.Ratings = []*pb.Rating{{System: "BBFC", Code: "U"}} }},
	{"review by nobody", "film.minors_review.reviewer", "", func(f *pb.Film) { f.MinorsReview = &pb.MinorsReview{AgeBand: pb.Film_ALL} }},
	{"review time of no calendar", "film.minors_review.review_time", "", func(f *pb.Film) {
		f.MinorsReview = &pb.MinorsReview{Reviewer: "R", ReviewTime: &timestamppb.Timestamp{Nanos: -1}}
	}},
	{"licence without a number", "film.licenses[0].number", "", func(f *pb.Film) { f.Licenses = []*pb.License{{Market: "CN", Kind: "online-film"}} }},
	{"credit without names", "film.credits[0].names", "at least one", func(f *pb.Film) { f.Credits = []*pb.Credit{{Role: "director"}} }},
	{"credit with a blank name", `film.credits[0].names["en"]`, "white space", func(f *pb.Film) {
		f.Credits = []*pb.Credit{{Role: "director", Names: map[string]string{"en": " "}}}
	}},
	{"artwork by script", "film.artwork[0].uri", "http", func(f *pb.Film) { f.Artwork = []*pb.Artwork{{Kind: pb.Artwork_POSTER, Uri: "javascript:alert(1)"}} }},
	{"artwork of another host by two slashes", "film.artwork[0].uri", "http", func(f *pb.Film) { f.Artwork = []*pb.Artwork{{Kind: pb.Artwork_POSTER, Uri: "//evil.example/x"}} }},
	{"artwork without a kind", "film.artwork[0].kind", "", func(f *pb.Film) { f.Artwork = []*pb.Artwork{{Uri: "/x.svg"}} }},
	{"artwork of negative width", "film.artwork[0].width", "", func(f *pb.Film) { f.Artwork = []*pb.Artwork{{Kind: pb.Artwork_POSTER, Uri: "/x.svg", Width: -1}} }},
	{"media of no length", "film.media[0].duration", "greater", func(f *pb.Film) {
		f.Media = []*pb.Media{{Kind: pb.Media_MAIN, AssetId: "a", Duration: durationpb.New(0)}}
	}},
	{"media language", "film.media[0].subtitle_languages[0]", "BCP-47", func(f *pb.Film) {
		f.Media = []*pb.Media{{Kind: pb.Media_MAIN, AssetId: "a", SubtitleLanguages: []string{"?"}}}
	}},
	{"share above 1", "film.provenance.stages[0].ai_share", "", func(f *pb.Film) { f.Provenance.Stages = []*pb.ProductionStage{{AiShare: 1.01}} }},
	{"share is no number", "film.provenance.stages[0].ai_share", "", func(f *pb.Film) { f.Provenance.Stages = []*pb.ProductionStage{{AiShare: math.NaN()}} }},
	{"label of 1 MB", "film.provenance.aigc_label.raw", "", func(f *pb.Film) { f.Provenance.AigcLabel = &pb.AigcLabel{Raw: make([]byte, 1<<20)} }},
	{"EIDR check character", "film.external_ids[0].value", "must be J", func(f *pb.Film) {
		f.ExternalIds = []*pb.ExternalId{{Scheme: "eidr", Value: "10.5240/7EC7-228A-510A-053E-CBB8-K"}}
	}},
	{"EIDR form", "film.external_ids[0].value", "10.5240/", func(f *pb.Film) { f.ExternalIds = []*pb.ExternalId{{Scheme: "EIDR", Value: "7EC7"}} }},
	{"tag without text", "film.tags[0]", "", func(f *pb.Film) { f.Tags = []string{""} }},
}

func TestBadFilmsAreRefusedWithTheirPath(t *testing.T) {
	require.NoError(t, checkFilm("film", lantern(), isDrama))
	for _, c := range badFilms {
		t.Run(c.name, func(t *testing.T) {
			f := lantern()
			c.spoil(f)
			e := fault.As(checkFilm("film", f, isDrama))
			require.NotNil(t, e)
			assert.Equal(t, fault.InvalidArgument, e.Kind)
			assert.Equal(t, pb.ErrorReason_INVALID_FIELD, e.Reason)
			var rules []string
			for _, field := range e.Fields {
				if field.Path == c.path {
					rules = append(rules, field.Rule)
				}
			}
			require.NotEmpty(t, rules, "%v", e.Fields)
			assert.Contains(t, strings.Join(rules, "; "), c.rule)
			assert.True(t, strings.HasPrefix(e.Message, "film."), e.Message)
		})
	}
}

func TestOddButLegalFilmsAreKept(t *testing.T) {
	for name, change := range map[string]func(f *pb.Film){
		"nothing at all":       func(f *pb.Film) { proto.Reset(f) },
		"ten days long":        func(f *pb.Film) { f.Runtime = durationpb.New(14400 * time.Minute) },
		"two years long":       func(f *pb.Film) { f.Runtime = &durationpb.Duration{Seconds: 1079281 * 60} },
		"a third of a second":  func(f *pb.Film) { f.Runtime = &durationpb.Duration{Nanos: 333333333} },
		"to be released":       func(f *pb.Film) { f.ReleaseDate = &pb.PartialDate{Year: 2039, Month: 12, Day: 15} },
		"leap day":             func(f *pb.Film) { f.ReleaseDate = &pb.PartialDate{Year: 2000, Month: 2, Day: 29} },
		"languages of no list": func(f *pb.Film) { f.Languages = []string{"cn", "xx", "fa-AF"} },
		"other keys":           func(f *pb.Film) { f.Localizations["be-tarask"] = &pb.FilmLocalization{Title: "x"} },
		"title of digits":      func(f *pb.Film) { f.Localizations["en"].Title = "1984" },
		"title with joiners":   func(f *pb.Film) { f.Localizations["en"].Title = "می\u200cدانم" },
		"title padded":         func(f *pb.Film) { f.Localizations["en"].Title = "  x  " },
		"ratings of no list":   func(f *pb.Film) { f.Ratings = []*pb.Rating{{Market: "ZZ", System: "OTHER", Code: "?"}} },
		"EIDR": func(f *pb.Film) {
			f.ExternalIds = []*pb.ExternalId{{Scheme: "EIDR", Value: "10.5240/1f2a-e1c5-680a-14c6-e76b-i"}}
		},
		"poster here":            func(f *pb.Film) { f.Artwork = []*pb.Artwork{{Kind: pb.Artwork_POSTER, Uri: "/posters/a.svg"}} },
		"window open at the end": func(f *pb.Film) { f.Availability = []*pb.Availability{{StartTime: at("2026-01-01T00:00:00Z")}} },
		"announced at the start": func(f *pb.Film) {
			f.Availability = []*pb.Availability{{AnnounceTime: at("2026-01-01T00:00:00Z"), StartTime: at("2026-01-01T00:00:00Z")}}
		},
	} {
		f := lantern()
		change(f)
		before := proto.CloneOf(f)
		assert.NoError(t, checkFilm("film", f, isDrama), name)
		assert.True(t, proto.Equal(before, f), "%s: a check changes nothing", name)
	}
}

func TestErrorsStaySmall(t *testing.T) {
	f := lantern()
	for i := range 500 {
		f.Availability = append(f.Availability, &pb.Availability{Markets: []string{strings.Repeat("x", i)}, AnnounceTime: at("2026-01-03T00:00:00Z")})
	}
	f.Localizations = map[string]*pb.FilmLocalization{strings.Repeat("é", 1_000_000): {Title: ""}}
	err := checkFilm("film", f, isDrama)
	require.Error(t, err)
	assert.Len(t, fault.As(err).Fields, 20)
	assert.Less(t, proto.Size(fault.Status(err)), 8<<10)
}

func TestEIDR(t *testing.T) {
	for _, id := range []string{"10.5240/7EC7-228A-510A-053E-CBB8-J", "10.5240/1F2A-E1C5-680A-14C6-E76B-I"} {
		assert.Empty(t, eidrRule(id), id)
		digits := []byte(id)
		for i := len("10.5240/"); i < len(id)-1; i++ { // Mod 37,36 finds every single error
			if digits[i] == '-' {
				continue
			}
			was := digits[i]
			digits[i] = "123456789ABCDEF0"[strings.IndexByte("0123456789ABCDEF", was)]
			assert.NotEmpty(t, eidrRule(string(digits)), string(digits))
			digits[i] = was
		}
	}
	for _, bad := range []string{"", "10.5240/", "10.5240/7EC7-228A-510A-053E-CBB8", "10.5240/7EC7228A510A053ECBB8J", "10.5240/7ECG-228A-510A-053E-CBB8-J", "10.5239/7EC7-228A-510A-053E-CBB8-J"} {
		assert.NotEmpty(t, eidrRule(bad), bad)
	}
}

func FuzzEIDR(f *testing.F) {
	f.Add("10.5240/7EC7-228A-510A-053E-CBB8-J")
	f.Fuzz(func(t *testing.T, s string) { eidrRule(s) })
}

// Whatever bytes make a film, checking it ends in nil or a fault that fits into a header.
func FuzzCheckFilm(f *testing.F) {
	for _, c := range badFilms {
		film := lantern()
		c.spoil(film)
		wire, err := proto.Marshal(film)
		require.NoError(f, err)
		f.Add(wire)
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		film := &pb.Film{}
		if proto.Unmarshal(wire, film) != nil {
			return
		}
		if err := checkFilm("film", film, isDrama); err != nil {
			require.NotNil(t, fault.As(err), "%v", err)
			require.Less(t, proto.Size(fault.Status(err)), 16<<10)
			return
		}
		derive(film)
		_, err := etag(film)
		require.NoError(t, err)
	})
}
