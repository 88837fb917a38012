package shelf

import (
	"fmt"
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

// garden has every field set, bare hardly any.
var (
	garden = film("films/garden", func(f *pb.Film) {
		f.Localizations = map[string]*pb.FilmLocalization{"en": {Title: `The "Robot" Garden`}, "zh-Hans": {Title: "机器人花园"}, "tr": {Title: "ROBOT BAHÇESİ"}}
		f.Genres, f.Tags = []string{"drama", "animals"}, []string{"sci-fi", "new york"}
		f.Countries, f.Languages = []string{"CN", "US"}, []string{"zh", "en"}
		f.ReleaseDate = &pb.PartialDate{Year: 2026, Month: 5}
		f.AgeBand, f.MinorsReview.AgeBand = pb.Film_AGE_8, pb.Film_AGE_3
		f.Runtime = durationpb.New(7200 * time.Second)
		f.CreateTime, f.UpdateTime = timestamppb.New(now.Add(-time.Hour)), timestamppb.New(now)
		f.FirstPublishTime = timestamppb.New(now)
		f.Availability = []*pb.Availability{
			{Markets: []string{"US"}, EndTime: timestamppb.New(now.AddDate(0, 0, 10)), Licensor: "Moon Pictures"},
			{Markets: []string{"GB"}},
			{Markets: []string{"SG"}, AnnounceTime: timestamppb.New(now), StartTime: timestamppb.New(now.AddDate(0, 0, 5))},
		}
		f.Provenance.Stages = []*pb.ProductionStage{{Stage: pb.ProductionStage_VIDEO, Tool: "Veo", AiShare: 1}, {Stage: pb.ProductionStage_VOICE, Tool: "Seedance"}}
	})
	bare = &pb.Film{Name: "films/bare"}
)

func TestFilter(t *testing.T) {
	s := load(t, garden, bare)
	s.SetStats(map[string]*pb.FilmStats{"films/garden": {RatingCount: 12, RatingAverage: 4.25}})
	snap := s.Current()
	for source, want := range map[string]string{
		"":                                      "both",
		"form = FEATURE":                        "garden",
		`form = "FEATURE"`:                      "garden",
		"form:FEATURE":                          "garden",
		"form != SHORT":                         "garden", // unset: false
		"NOT form = SHORT":                      "both",
		"-form = FEATURE":                       "bare",
		"form:*":                                "garden",
		"NOT form:*":                            "bare",
		"state = PUBLISHED":                     "garden",
		"content_type = ANIMATION":              "garden",
		`genres:"drama"`:                        "garden",
		"genres:drama genres:animals":           "garden",
		"genres:comedy":                         "none",
		"genres:*":                              "garden",
		`tags:"sci-fi"`:                         "garden",
		`tags:"new york"`:                       "garden",
		`tags:"new"`:                            "none",
		`countries:"CN"`:                        "garden",
		"languages:zh":                          "garden",
		"runtime >= 7200s":                      "garden",
		`runtime >= "7200s"`:                    "garden",
		"runtime=7200s":                         "garden",
		"(runtime>7199.5s)":                     "garden",
		`runtime >= duration("7200s")`:          "garden",
		"runtime > 7200s":                       "none",
		`runtime < "3h"`:                        "garden",
		"runtime != 5s":                         "garden",
		`release_date >= "2026-05-01"`:          "garden", // a partial date counts as its first day
		`release_date > "2026-05"`:              "none",
		`release_date >= "2026"`:                "garden",
		`release_date < "2027"`:                 "garden",
		"release_date >= 2026":                  "garden",
		`release_date = "2026-05-01"`:           "garden",
		"age_band <= AGE_8":                     "garden",
		"age_band < AGE_8":                      "none",
		"age_band:*":                            "garden",
		"minors_review:*":                       "garden",
		"minors_review <= AGE_3":                "garden",
		"minors_review = AGE_8":                 "none",
		`markets:"US"`:                          "garden",
		`markets:"SG"`:                          "garden",
		`markets:"DE"`:                          "none",
		`licensor:"Moon Pictures"`:              "garden",
		`licensor = "Moon Pictures"`:            "garden",
		`licensor:"Moon"`:                       "none",
		"licensor:*":                            "garden",
		`update_time >= "2026-11-23T12:00:00Z"`: "garden",
		`update_time >= timestamp("2026-11-23T14:00:00+02:00")`: "garden",
		`create_time < "2026-11-23T12:00:00Z"`:                  "garden",
		`update_time > "2026-11-23"`:                            "garden",
		"delete_time:*":                                         "none",
		`title:"robot"`:                                         "garden",
		`title:"ROBOT"`:                                         "garden",
		"title:robot":                                           "garden",
		`title:"花园"`:                                            "garden",
		`title:"\"robot\""`:                                     "garden",
		`title:"the garden"`:                                    "none",
		`title = "机器人花园"`:                                       "garden",
		`title = "机器人"`:                                         "none",
		"title:*":                                               "garden",
		"tool:Veo":                                              "garden",
		`tool = "Seedance"`:                                     "garden",
		"tool:veo":                                              "none",
		"digital_source_type = trainedAlgorithmicMedia":                                                   "garden",
		`digital_source_type = "https://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"`: "garden",
		"digital_source_type:*":          "garden",
		"rating_count >= 12":             "garden",
		"rating_count = 0":               "bare",
		"rating_average > 4.2":           "garden",
		"rating_average < 5":             "garden", // bare has none
		`available_until < "2026-12-24"`: "garden",
		`available_until < "2026-12-01"`: "none",
		"available_until:*":              "garden",
		`name = "films/bare"`:            "bare",
		// OR binds tighter than AND.
		"genres:drama OR genres:comedy AND form = SHORT":   "none",
		"genres:drama OR (genres:comedy AND form = SHORT)": "garden",
		"form = SHORT AND genres:comedy OR genres:drama":   "none",
		"( form = FEATURE ) AND (  genres:drama )":         "garden",
		"NOT (form = SHORT OR genres:drama)":               "bare",
		"form = FEATURE\n AND\tgenres:drama":               "garden",
		`title:"( 7200s" OR name = "films/bare"`:           "bare",
		`title:"it's" OR title:'robot'`:                    "garden",
	} {
		f, err := CompileFilter(source)
		if !assert.NoError(t, err, source) {
			continue
		}
		g, b := f.Match(snap, snap.Film("films/garden"), now), f.Match(snap, snap.Film("films/bare"), now)
		got := map[[2]bool]string{{true, true}: "both", {true, false}: "garden", {false, true}: "bare", {false, false}: "none"}[[2]bool{g, b}]
		assert.Equal(t, want, got, source)
	}
}

func TestFilterIn(t *testing.T) {
	snap := load(t, garden).Current()
	match := func(source, market string) bool {
		f, err := CompileFilter(source)
		require.NoError(t, err)
		return f.MatchIn(snap, snap.Film("films/garden"), now, market)
	}
	assert.True(t, match("available_until:*", "US"))
	assert.False(t, match("available_until:*", "GB"), "stays for ever")
	assert.False(t, match("available_until:*", "SG"), "not yet there")
	assert.True(t, match("available_time:*", "SG"))
	assert.True(t, match(`available_time < "2026-12-01"`, "SG"))
	assert.False(t, match("available_time:*", "US"))
}

// Windows that follow each other without a gap are one stay.
func TestAvailableUntilJoinsWindows(t *testing.T) {
	in := func(days int) *timestamppb.Timestamp { return timestamppb.New(now.AddDate(0, 0, days)) }
	snap, e := one(t, film("films/a", func(f *pb.Film) {
		f.Availability = []*pb.Availability{{EndTime: in(5)}, {Markets: []string{"US"}, StartTime: in(5), EndTime: in(20)}}
	}))
	for source, want := range map[string]map[string]bool{
		`available_until > "2026-12-05"`: {"US": true, "GB": false, "": true},
		`available_until < "2026-12-05"`: {"US": false, "GB": true, "": true},
	} {
		f, err := CompileFilter(source)
		require.NoError(t, err)
		for market, want := range want {
			assert.Equal(t, want, f.MatchIn(snap, e, now, market), "%s in %q", source, market)
		}
	}
}

// A card says when the film leaves from 30 days before on, to the microsecond.
func TestLeavingAndComingOnCards(t *testing.T) {
	at := func(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(now.Add(d)) }
	card := func(w *pb.Availability, verdict Verdict) *pb.FilmCard {
		s, e := one(t, film("films/a", func(f *pb.Film) { f.Availability = []*pb.Availability{w} }))
		got, _ := s.Gate(adult, e, now)
		require.Equal(t, verdict, got)
		c := &pb.FilmCard{}
		require.NoError(t, proto.Unmarshal(s.AppendCard(nil, e, adult, got, now), c))
		return c
	}
	month := 30 * 24 * time.Hour
	assert.True(t, proto.Equal(at(month), card(&pb.Availability{EndTime: at(month)}, Playing).GetAvailableUntil()))
	assert.Nil(t, card(&pb.Availability{EndTime: at(month + time.Microsecond)}, Playing).GetAvailableUntil())
	assert.Nil(t, card(&pb.Availability{}, Playing).GetAvailableUntil())
	coming := card(&pb.Availability{AnnounceTime: at(0), StartTime: at(time.Hour), EndTime: at(2 * time.Hour)}, Coming)
	assert.True(t, proto.Equal(at(time.Hour), coming.GetAvailableTime()))
	assert.Nil(t, coming.GetAvailableUntil())
}

func TestBadFilters(t *testing.T) {
	deep := strings.Repeat("(", 17) + "form = SHORT" + strings.Repeat(")", 17)
	terms := strings.TrimSuffix(strings.Repeat("form=SHORT ", 65), " ")
	for source, hint := range map[string]string{
		"bogus = 1":                             "age_band", // the fields there are
		"form = BOGUS":                          "FEATURE, SHORT",
		"form = 1":                              "FEATURE, SHORT",
		"form = FORM_UNSPECIFIED":               "NOT",
		"form > SHORT":                          "no order",
		"age_band > 12":                         "AGE_12",
		`genres = comedy AND genres != "drama"`: "list",
		"runtime > 20":                          "7200s",
		`runtime > "x"`:                         "7200s",
		`release_date > "May"`:                  "2026-05",
		`release_date > "2026-13"`:              "2026-05",
		"release_date > 2026-05-01":             "cannot be read",
		`update_time > "2026-05-01T00:00:00"`:   "2026-05-01",
		`markets:"usa"`:                         "ISO 3166",
		"title > a":                             "no order",
		"rating_count = many":                   "number",
		"robot":                                 `title:"robot"`,
		`"robot"`:                               `title:"robot"`,
		`"form" = SHORT`:                        "no field",
		"form = (SHORT)":                        "",
		"form = f(1)":                           "one value",
		"f(1)":                                  "no function",
		"regex(title)":                          "no function",
		"form =":                                "cannot be read",
		"(form = SHORT":                         "cannot be read",
		"form = SHORT)":                         "cannot be read",
		`title:"a`:                              "cannot be read",
		"title:\xff":                            "cannot be read",
		"= SHORT":                               "cannot be read",
		"AND":                                   "cannot be read",
		deep:                                    "16",
		terms:                                   "64",
		"title:" + strings.Repeat("a", 1024):    "1024",
	} {
		_, err := CompileFilter(source)
		if hint == "" {
			assert.NoError(t, err, source)
			continue
		}
		if assert.True(t, fault.Is(err, pb.ErrorReason_INVALID_FILTER), "%q: %v", source, err) {
			assert.Equal(t, fault.InvalidArgument, fault.As(err).Kind, source)
			assert.Contains(t, err.Error(), hint, source)
			assert.True(t, strings.HasPrefix(err.Error(), "filter: "), source)
			assert.NotContains(t, err.Error(), "\n", source)
		}
	}
	sixteen := strings.Repeat("(", 16) + "form = SHORT" + strings.Repeat(")", 16)
	_, err := CompileFilter(sixteen)
	assert.NoError(t, err)
}

func TestFiltersAreKeptWithinBounds(t *testing.T) {
	for i := range 3 * maxCompiled {
		_, err := CompileFilter(fmt.Sprintf("rating_count = %d", i))
		require.NoError(t, err)
	}
	assert.LessOrEqual(t, len(compiled.filters), maxCompiled)
	a, _ := CompileFilter("form = SHORT")
	b, _ := CompileFilter("form = SHORT")
	assert.Same(t, a, b)
}

func TestOrder(t *testing.T) {
	s := load(t,
		film("films/c", func(f *pb.Film) { f.Runtime, f.ReleaseDate = durationpb.New(3), &pb.PartialDate{Year: 2001} }),
		film("films/a", func(f *pb.Film) { f.Runtime, f.ReleaseDate = durationpb.New(3), &pb.PartialDate{Year: 2003} }),
		film("films/b", func(f *pb.Film) { f.Runtime, f.Localizations["en"].Title = durationpb.New(1), "alpha" }),
		film("films/d", func(f *pb.Film) { f.Runtime, f.DeleteTime = nil, timestamppb.New(now) }),
	)
	s.SetStats(map[string]*pb.FilmStats{"films/b": {RatingCount: 5, RatingAverage: 3}})
	for source, want := range map[string]string{
		"":                             "a b c",
		"name":                         "a b c",
		"name desc":                    "c b a",
		"runtime":                      "b a c",
		"runtime desc":                 "a c b",
		"runtime desc, name desc":      "c a b",
		"release_date":                 "c a b", // unset last
		"release_date desc":            "a c b",
		"rating_count desc":            "b a c",
		"rating_average":               "b a c",
		"title":                        "b a c",
		" runtime asc , release_date ": "b c a",
		"available_until":              "a b c",
	} {
		o, err := CompileOrder(source)
		require.NoError(t, err, source)
		assert.Equal(t, want, names(s.Current(), s.Current().Select(nil, o, now, false)), source)
	}
	assert.Equal(t, "a b c d", names(s.Current(), s.Current().Select(nil, nil, now, true)))
	for _, source := range []string{"bogus", "name up", "name,", "name;", "a.b", strings.Repeat("name,", 9) + "name", "-name", "名"} {
		_, err := CompileOrder(source)
		assert.True(t, fault.Is(err, pb.ErrorReason_INVALID_ORDER_BY), "%q: %v", source, err)
	}
}

func names(s *Snapshot, slots []uint32) string {
	var out []string
	for _, slot := range slots {
		out = append(out, strings.TrimPrefix(s.At(slot).Name, "films/"))
	}
	return strings.Join(out, " ")
}

// TestCountsByFilter counts a synthetic catalogue, with the holes real ones have, by filters
// and by hand.
func TestCountsByFilter(t *testing.T) {
	var films []*pb.Film
	var all []message
	for i := range 5000 {
		f := film(fmt.Sprintf("films/f%d", i), func(f *pb.Film) {
			f.Runtime, f.Form = durationpb.New(time.Duration(i*7%9000)*time.Second), pb.Film_FEATURE
			switch {
			case i%11 == 0:
				f.Runtime, f.Form = nil, 0
			case f.Runtime.Seconds < 900:
				f.Form = pb.Film_SHORT
			}
			f.Genres = someGenres[:i%4]
			f.Countries = []string{someMarkets[i%6], someMarkets[i%5]}
			if i%3 > 0 {
				f.ReleaseDate = &pb.PartialDate{Year: int32(1950 + i%80), Month: int32(i % 13)}
			}
		})
		films, all = append(films, f), append(all, f)
	}
	snap := load(t, all...).Current()
	for source, holds := range map[string]func(*pb.Film) bool{
		"form = FEATURE":  func(f *pb.Film) bool { return f.GetRuntime().GetSeconds() >= 900 },
		"form = SHORT":    func(f *pb.Film) bool { return f.Runtime != nil && f.GetRuntime().GetSeconds() < 900 },
		`genres:"comedy"`: func(f *pb.Film) bool { return len(f.GetGenres()) > 1 },
		`genres:"drama" AND release_date >= "1990-01-01"`: func(f *pb.Film) bool { return len(f.GetGenres()) > 0 && f.GetReleaseDate().GetYear() >= 1990 },
		"runtime >= 7200s": func(f *pb.Film) bool { return f.GetRuntime().GetSeconds() >= 7200 },
		`countries:"GB"`:   func(f *pb.Film) bool { return f.GetCountries()[0] == "GB" || f.GetCountries()[1] == "GB" },
		"":                 func(*pb.Film) bool { return true },
	} {
		want := 0
		for _, f := range films {
			if holds(f) {
				want++
			}
		}
		f, err := CompileFilter(source)
		require.NoError(t, err)
		assert.Len(t, snap.Select(f, nil, now, false), want, source)
		assert.NotZero(t, want, source)
	}
}

// Whatever is asked: an answer, or a fault with the reason; nothing panics.
func FuzzCompileFilter(f *testing.F) {
	for _, s := range []string{
		`genres:"drama" AND release_date >= "1990-01-01"`, "runtime >= 7200s", `-title:"a\"b" OR (tags:* x)`, "a.b.c = 1.5", "f(g(h(1)),'x') = 0x1F",
		"((((((((((((((((runtime=1s))))))))))))))))", "rating_average < -.5", "NOT NOT form:*", "runtime = 1s2s 3s", "\"", "title:\\", "1s = 1s",
	} {
		f.Add(s)
	}
	snap := load(f, garden, bare).Current()
	f.Fuzz(func(t *testing.T, source string) {
		filter, err := compileFilter(source)
		if err != nil {
			assert.True(t, fault.Is(err, pb.ErrorReason_INVALID_FILTER))
			assert.True(t, strings.ToValidUTF8(err.Error(), "") == err.Error(), "%q", err.Error())
			return
		}
		not, err := compileFilter("NOT (" + source + ")")
		for _, name := range []string{"films/garden", "films/bare"} {
			e := snap.Film(name)
			got := filter.Match(snap, e, now)
			if err == nil && strings.TrimSpace(source) != "" {
				assert.NotEqual(t, got, not.Match(snap, e, now))
			}
		}
	})
}

func FuzzCompileOrder(f *testing.F) {
	for _, s := range []string{"runtime desc, name", "title,rating_average asc", " ", ",", "name name", "é"} {
		f.Add(s)
	}
	snap := load(f, garden, bare).Current()
	f.Fuzz(func(t *testing.T, source string) {
		order, err := CompileOrder(source)
		if err != nil {
			assert.True(t, fault.Is(err, pb.ErrorReason_INVALID_ORDER_BY))
			return
		}
		assert.Len(t, snap.Select(nil, order, now, true), 2)
	})
}
