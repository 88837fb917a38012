package shelf

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/bcp47"
	"github.com/aitheater/theater/internal/disclosure"
)

// referenceCard builds the card from the message as the contract says it.
func referenceCard(f *pb.Film, genres []*pb.Genre, v *pb.Viewer, verdict Verdict, now time.Time) *pb.FilmCard {
	var tags []string
	for tag := range f.GetLocalizations() {
		tags = append(tags, tag)
	}
	slices.Sort(tags)
	language := bcp47.Best(v.GetLanguages(), tags, f.GetDefaultLanguage())
	c := &pb.FilmCard{
		Name: f.GetName(), Title: f.GetLocalizations()[language].GetTitle(), Tagline: f.GetLocalizations()[language].GetTagline(),
		Runtime: f.GetRuntime(), ContentType: f.GetContentType(), AgeBand: f.GetAgeBand(), ReleaseDate: f.GetReleaseDate(),
		Awards: f.GetAwards(), Language: language,
		Disclosure: disclosure.Card(disclosure.ClassOf(f), v.GetMarket(), bcp47.Best(v.GetLanguages(), disclosure.Languages, bcp47.Best([]string{language}, disclosure.Languages, "")), now),
	}
	c.Posters, c.Backdrops = artwork(f, pb.Artwork_POSTER, language), artwork(f, pb.Artwork_BACKDROP, language)
	for _, slug := range f.GetGenres() {
		name := slug
		for _, g := range genres {
			if g.GetName() == "genres/"+slug {
				name = textIn(g.GetDisplayNames(), []string{language, f.GetDefaultLanguage(), "en"})
			}
		}
		c.Genres = append(c.Genres, &pb.CardGenre{Genre: slug, Name: name})
	}
	for _, credit := range f.GetCredits() {
		if name := textIn(credit.GetNames(), []string{language, f.GetDefaultLanguage()}); credit.GetRole() != "voice" && !slices.Contains(c.Creators, name) {
			c.Creators = append(c.Creators, name)
		}
	}
	strictest := pb.Film_AgeBand(0)
	for _, r := range f.GetRatings() {
		if band := ratingBands[r.GetMarket()][r.GetSystem()][r.GetCode()]; r.GetMarket() == v.GetMarket() && band > strictest {
			c.Rating, strictest = r, band
		}
	}
	c.AvailableTime, c.AvailableUntil = referenceTimes(f, v.GetMarket(), verdict, now)
	return c
}

func referenceTimes(f *pb.Film, market string, verdict Verdict, now time.Time) (from, until *timestamppb.Timestamp) {
	var here []*pb.Availability
	for _, a := range f.GetAvailability() {
		if len(a.GetMarkets()) == 0 || slices.Contains(a.GetMarkets(), market) {
			here = append(here, a)
		}
	}
	if verdict == Coming {
		for _, a := range here {
			if a.AnnounceTime == nil || now.Before(a.AnnounceTime.AsTime()) || a.EndTime != nil && !a.StartTime.AsTime().Before(a.EndTime.AsTime()) {
				continue
			}
			if start := a.GetStartTime(); start.AsTime().After(now) && (from == nil || start.AsTime().Before(from.AsTime())) {
				from = start
			}
		}
		return from, nil
	}
	end := now
	for grown := true; grown; {
		grown = false
		for _, a := range here {
			if a.StartTime != nil && a.StartTime.AsTime().After(end) {
				continue
			}
			if a.EndTime == nil {
				return nil, nil
			}
			if a.EndTime.AsTime().After(end) {
				end, grown = a.EndTime.AsTime(), true
			}
		}
	}
	if end.After(now.AddDate(0, 0, 30)) {
		return nil, nil
	}
	return nil, timestamppb.New(end)
}

func TestCardsEqualPlainlyBuiltOnes(t *testing.T) {
	genres := []*pb.Genre{
		{Name: "genres/drama", DisplayNames: map[string]string{"en": "Drama", "zh-Hans": "剧情", "zh-Hant": "劇情"}},
		{Name: "genres/comedy", DisplayNames: map[string]string{"sr-Latn": "Komedija"}},
	}
	rapid.Check(t, func(rt *rapid.T) {
		f, v := someFilm(rt, "films/a"), someViewer(rt)
		s := load(t, f, genres[0], genres[1]).Current()
		e := s.Film("films/a")
		at := someInstants.Draw(rt, "now")
		verdict, _ := s.Gate(NewViewer(v), e, at)
		if verdict == Hidden {
			return
		}
		want := referenceCard(f, genres, v, verdict, at)
		for range 2 { // encoded anew, then from the cache
			got := &pb.FilmCard{}
			require.NoError(t, proto.Unmarshal(s.AppendCard(nil, e, NewViewer(v), verdict, at), got))
			if !proto.Equal(want, got) {
				rt.Fatalf("want %v\n got %v", want, got)
			}
		}
		assert.NotEmpty(rt, want.GetDisclosure().GetText())
	})
}

func TestAppendCardAppends(t *testing.T) {
	s, e := one(t, film("films/a"))
	b := s.AppendCard([]byte("before"), e, adult, Playing, now)
	assert.Equal(t, "before", string(b[:6]))
	assert.Equal(t, s.AppendCard(nil, e, adult, Playing, now), b[6:])
	room := make([]byte, 0, 4096)
	assert.Zero(t, testing.AllocsPerRun(100, func() { s.AppendCard(room, e, adult, Playing, now) }))
}

func TestCardsOfManyLanguagesStayBounded(t *testing.T) {
	f := film("films/a")
	for _, tag := range []string{"aa", "ab", "af", "ak", "am", "an", "ar", "as", "av", "ay", "az", "ba", "be"} {
		f.Localizations[tag] = &pb.FilmLocalization{Title: "Title in " + tag}
	}
	s, e := one(t, f)
	for range 2 {
		for tag := range f.GetLocalizations() {
			c := &pb.FilmCard{}
			v := &Viewer{Market: "US", Audience: pb.Viewer_ADULT, Languages: []string{tag}}
			require.NoError(t, proto.Unmarshal(s.AppendCard(nil, e, v, Playing, now), c))
			assert.Equal(t, f.GetLocalizations()[tag].GetTitle(), c.GetTitle())
			kept := 0
			for k := e.cards.Load(); k != nil; k = k.next {
				kept++
			}
			assert.LessOrEqual(t, kept, maxCards)
		}
	}
}

func TestTitle(t *testing.T) {
	s, e := one(t, film("films/a", func(f *pb.Film) {
		f.Localizations["zh-Hant"] = &pb.FilmLocalization{Title: "機器人花園", Synopsis: "簡介"}
		f.Credits = []*pb.Credit{{Role: "director", Names: map[string]string{"en": "Wen Ye", "zh-Hans": "温野", "zh-Hant": "溫野"}}}
		f.Media = []*pb.Media{{Kind: pb.Media_MAIN, AssetId: "main"}, {Kind: pb.Media_TRAILER, AssetId: "trailer"}}
		f.Provenance.DigitalSourceType = "https://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
	}))
	v := NewViewer(&pb.Viewer{Market: "HK", Audience: pb.Viewer_ADULT, Languages: []string{"zh-HK", "en"}})
	got := s.Title(e, v, Playing, now)
	assert.Equal(t, "機器人花園", got.GetCard().GetTitle())
	assert.Equal(t, "zh-Hant", got.GetCard().GetLanguage())
	assert.Equal(t, "簡介", got.GetSynopsis())
	assert.Equal(t, "溫野", got.GetCredits()[0].GetName())
	assert.Len(t, got.GetMedia(), 2)
	assert.Equal(t, "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia", got.GetProvenance().GetDigitalSourceType())
	assert.NotEmpty(t, got.GetDisclosure().GetText())

	coming := s.Title(e, v, Coming, now)
	require.Len(t, coming.GetMedia(), 1)
	assert.Equal(t, "trailer", coming.GetMedia()[0].GetAssetId(), "MAIN is hidden until the film starts")
}
