package demo

import (
	"encoding/xml"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pb "github.com/aitheater/theater/api/theater/v1"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// A newcomer finds at least 40 features and 8 cleared children's films in each market.
func TestSeasonFillsEveryMarket(t *testing.T) {
	for _, market := range everywhere {
		features, children := 0, 0
		for _, f := range Films(now) {
			w := f.GetAvailability()[0]
			if !slices.Contains(w.GetMarkets(), market) || (w.GetStartTime() != nil && w.GetStartTime().AsTime().After(now)) {
				continue
			}
			if f.GetRuntime().AsDuration() >= 15*time.Minute {
				features++
			}
			if f.GetMinorsReview() != nil && max(f.GetMinorsReview().GetAgeBand(), f.GetAgeBand()) <= pb.Film_AGE_8 {
				children++
			}
		}
		require.GreaterOrEqual(t, features, 40, market)
		require.GreaterOrEqual(t, children, 8, market)
	}
	require.GreaterOrEqual(t, len(Films(now)), 60)
}

func TestSeasonIsComplete(t *testing.T) {
	genres := map[string]bool{}
	for _, g := range Genres() {
		genres[strings.TrimPrefix(g.GetName(), "genres/")] = true
	}
	kinds, names := map[pb.Film_ContentType]bool{}, map[string]bool{}
	for _, f := range Films(now) {
		require.False(t, names[f.GetName()], "twice: %s", f.GetName())
		names[f.GetName()] = true
		kinds[f.GetContentType()] = true
		require.NotZero(t, f.GetContentType(), f.GetName())
		require.NotZero(t, f.GetAgeBand(), f.GetName())
		require.NotEmpty(t, f.GetLocalizations()["en"].GetTitle(), f.GetName())
		require.NotEmpty(t, f.GetLocalizations()["zh-Hans"].GetSynopsis(), f.GetName())
		require.NotEmpty(t, f.GetLicenses(), f.GetName())
		for _, g := range f.GetGenres() {
			require.True(t, genres[g], "%s: genre %s", f.GetName(), g)
		}
	}
	require.Len(t, kinds, 5)
}

func TestAudienceHasCurveFavouritesAndTail(t *testing.T) {
	events := Events(now)
	require.Equal(t, len(events), len(Events(now)))
	plays, hours := map[string]int{}, map[int]int{}
	for _, e := range events {
		at := e.GetOccurTime().AsTime()
		require.False(t, at.After(now))
		require.Less(t, now.Sub(at), 24*time.Hour)
		if e.GetKind() == pb.Event_RATE {
			require.Equal(t, pb.Viewer_ADULT, e.GetAudience())
			require.GreaterOrEqual(t, e.GetValue(), 0.5)
			require.LessOrEqual(t, e.GetValue(), 5.0)
		}
		if e.GetKind() == pb.Event_PLAY && e.GetMarket() == "CN" {
			plays[e.GetFilm()]++
			hours[at.Add(8*time.Hour).Hour()]++
		}
	}
	require.Greater(t, hours[21], 4*hours[4], "the evening is busier than the night")
	counts := make([]int, 0, len(plays))
	for _, n := range plays {
		counts = append(counts, n)
	}
	slices.Sort(counts)
	require.GreaterOrEqual(t, len(counts), 60, "the tail is watched too")
	require.Greater(t, counts[len(counts)-1], 8*counts[len(counts)/2], "there are favourites")
}

// The page asks the API alone: whatever it loads comes from the same origin.
func TestPageStandsAlone(t *testing.T) {
	answer := httptest.NewRecorder()
	Page().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/", nil))
	require.Equal(t, http.StatusOK, answer.Code)
	require.Contains(t, answer.Header().Get("Content-Security-Policy"), "default-src 'self'")
	require.Contains(t, answer.Body.String(), "/theater.v1.ListingService/GetHome")
	require.NotContains(t, answer.Body.String(), "http:")
	require.NotContains(t, answer.Body.String(), "https:")
}

func TestArtIsWellFormed(t *testing.T) {
	art := Art()
	for _, f := range Films(now) {
		for _, a := range f.GetArtwork() {
			answer := httptest.NewRecorder()
			art.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, a.GetUri(), nil))
			require.Equal(t, http.StatusOK, answer.Code, a.GetUri())
			var doc struct {
				XMLName xml.Name `xml:"svg"`
			}
			require.NoError(t, xml.Unmarshal(answer.Body.Bytes(), &doc), a.GetUri())
		}
	}
	for _, path := range []string{"/art/no-such-film/poster.svg", "/art/alaya/x.svg", "/art", "/"} {
		answer := httptest.NewRecorder()
		art.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
		require.Equal(t, http.StatusNotFound, answer.Code, path)
	}
}
