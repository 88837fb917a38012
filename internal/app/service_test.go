package app_test

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/app"
	"github.com/aitheater/theater/internal/theatertest"
	"github.com/aitheater/theater/internal/theatertest/house"
)

// From the import to the ranked page, the title and the JSON port, and again after a restart.
func TestFilmToRankedPage(t *testing.T) {
	t.Parallel()
	theatertest.EachStore(t, func(t *testing.T, store string) {
		t.Parallel()
		h := house.Start(t, app.Config{Store: store, Redis: theatertest.Redis(t)})
		load(t, h, feature("a"), feature("b"), feature("c"))
		record(t, h, likes("films/b", 30, time.Now())...)
		record(t, h, likes("films/c", 10, time.Now())...)
		record(t, h, likes("films/c", 10, time.Now())...) // sent again: counts once
		took := eventually(t, time.Minute, "plays reach the chart", func() bool { return len(hot(t, h, adult, 20)) >= 2 })
		t.Logf("like to chart: %s", took)
		assert.Equal(t, []string{"films/b", "films/c"}, hot(t, h, adult, 1)[:2])
		assert.Equal(t, hot(t, h, adult, 20), hot(t, h, child, 20), "all are cleared for children of 8")

		title, err := h.Listing.GetTitle(t.Context(), &pb.GetTitleRequest{Name: "films/b", Viewer: adult})
		require.NoError(t, err)
		assert.Equal(t, "Title of b", title.GetCard().GetTitle())
		assert.NotEmpty(t, title.GetDisclosure().GetText())

		code, page := h.JSON("ListingService/ListRankedFilms", map[string]any{
			"chart": "charts/hot", "viewer": map[string]any{"market": "US", "audience": "ADULT"}})
		require.Equal(t, 200, code, page)
		assert.Len(t, page["films"], len(hot(t, h, adult, 20)))

		chart, err := h.Charts.ComputeChart(t.Context(), &pb.ComputeChartRequest{Source: &pb.ComputeChartRequest_Chart{Chart: "charts/hot"}, Market: "US"})
		require.NoError(t, err)
		require.GreaterOrEqual(t, len(chart.GetEntries()), 2)
		assert.Equal(t, "films/b", chart.GetEntries()[0].GetFilm())

		h.Restart()
		assert.Equal(t, []string{"films/b", "films/c"}, hot(t, h, adult, 20)[:2], "the list is there from the first answer on")
	})
}

// shows reports whether any viewer method lets a film be seen, in any form.
func shows(ctx context.Context, h *house.House, film string, v *pb.Viewer) (where string, err error) {
	asks := map[string]func() (proto.Message, error){
		"ListRankedFilms": func() (proto.Message, error) {
			return h.Listing.ListRankedFilms(ctx, &pb.ListRankedFilmsRequest{Chart: "charts/hot", Viewer: v, PageSize: 100})
		},
		"ListRankedFilms new": func() (proto.Message, error) {
			return h.Listing.ListRankedFilms(ctx, &pb.ListRankedFilmsRequest{Chart: "charts/new", Viewer: v, PageSize: 100})
		},
		"GetTitle": func() (proto.Message, error) {
			return h.Listing.GetTitle(ctx, &pb.GetTitleRequest{Name: film, Viewer: v})
		},
		"BatchGetCards": func() (proto.Message, error) {
			// Asked with another film, whose card must stay; the missing name is no news.
			res, err := h.Listing.BatchGetCards(ctx, &pb.BatchGetCardsRequest{Names: []string{film, "films/other"}, Viewer: v})
			if err != nil {
				return nil, err
			}
			return &pb.BatchGetCardsResponse{Cards: res.GetCards()}, nil
		},
		"GetHome": func() (proto.Message, error) {
			return h.Listing.GetHome(ctx, &pb.GetHomeRequest{Viewer: v, Page: "home"})
		},
	}
	for name, ask := range asks {
		answer, err := ask()
		if status.Code(err) == codes.NotFound {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		b, err := proto.Marshal(answer)
		if err != nil {
			return "", err
		}
		if bytes.Contains(b, []byte(film)) {
			return name, nil
		}
	}
	return "", nil
}

func TestP3_TakeDownVanishesEverywhere(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	canary := feature("canary")
	load(t, a, canary, feature("other"))
	record(t, a, append(likes(canary.Name, 50, time.Now()), likes("films/other", 5, time.Now())...)...)
	for _, h := range []*house.House{a, b} {
		eventually(t, time.Minute, "the canary is seen", func() bool { return len(hot(t, h, adult, 100)) == 2 })
	}
	// An import that takes long runs beside.
	ctx, stop := context.WithCancel(t.Context())
	var importing sync.WaitGroup
	var imported atomic.Int64
	importing.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			films := make([]*pb.Film, 500)
			for i := range films {
				films[i] = feature(fmt.Sprintf("bulk-%d-%d", n, i))
			}
			if err := importAll(ctx, a, films); err != nil && ctx.Err() == nil {
				t.Errorf("import: %v", err)
				return
			}
			imported.Add(500)
		}
	})
	defer importing.Wait()
	defer stop()
	eventually(t, time.Minute, "the import runs", func() bool { return imported.Load() >= 1000 })

	hides := []struct {
		name       string
		hide, show func() error
	}{
		{"take-down", func() error {
			_, err := a.Catalog.TakeDownFilm(t.Context(), &pb.TakeDownFilmRequest{Name: canary.Name, Reason: "test"})
			return err
		}, func() error {
			_, err := a.Catalog.ReinstateFilm(t.Context(), &pb.ReinstateFilmRequest{Name: canary.Name})
			return err
		}},
		{"withdrawal", func() error {
			_, err := a.Catalog.WithdrawFilm(t.Context(), &pb.WithdrawFilmRequest{Name: canary.Name})
			return err
		}, func() error {
			_, err := a.Catalog.PublishFilm(t.Context(), &pb.PublishFilmRequest{Name: canary.Name})
			return err
		}},
		{"deletion", func() error {
			_, err := a.Catalog.DeleteFilm(t.Context(), &pb.DeleteFilmRequest{Name: canary.Name})
			return err
		}, func() error {
			if _, err := a.Catalog.UndeleteFilm(t.Context(), &pb.UndeleteFilmRequest{Name: canary.Name}); err != nil {
				return err
			}
			_, err := a.Catalog.PublishFilm(t.Context(), &pb.PublishFilmRequest{Name: canary.Name})
			return err
		}},
	}
	var worst time.Duration
	for round := range 3 {
		for _, hide := range hides {
			require.NoError(t, hide.hide(), hide.name)
			acknowledged := time.Now()
			for _, h := range []*house.House{a, b} {
				for {
					began := time.Now()
					where, err := shows(t.Context(), h, canary.Name, adult)
					require.NoError(t, err)
					if where == "" {
						worst = max(worst, began.Sub(acknowledged))
						break
					}
					if late := began.Sub(acknowledged); late > time.Second {
						t.Fatalf("round %d: %s shows the film %s after its %s", round, where, late, hide.name)
					}
				}
			}
			require.NoError(t, hide.show(), hide.name)
			eventually(t, 30*time.Second, "the film is back", func() bool {
				where, err := shows(t.Context(), b, canary.Name, adult)
				return err == nil && where != ""
			})
		}
	}
	t.Logf("gone everywhere within %s, beside an import of %d films", worst, imported.Load())
}

func TestP7_ReadersNeverSeeOlderThanTheyAsk(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	load(t, a, feature("a"))
	last := ""
	for i := range 30 {
		var trailer metadata.MD
		f, err := a.Catalog.UpdateFilm(t.Context(), &pb.UpdateFilmRequest{Film: &pb.Film{Name: "films/a", Tags: []string{strconv.Itoa(i)}}, UpdateMask: mask("tags")}, grpc.Trailer(&trailer))
		require.NoError(t, err)
		last = revisionOf(t, trailer)
		// The other replica, at once.
		ctx := metadata.AppendToOutgoingContext(t.Context(), "theater-min-revision", last)
		got, err := b.Catalog.GetFilm(ctx, &pb.GetFilmRequest{Name: "films/a"})
		require.NoError(t, err)
		assert.Equal(t, f.GetTags(), got.GetTags())
		assert.GreaterOrEqual(t, got.GetRevision(), f.GetRevision())
	}
	revision, err := strconv.ParseInt(last, 10, 64)
	require.NoError(t, err)
	ctx := metadata.AppendToOutgoingContext(t.Context(), "theater-min-revision", strconv.FormatInt(revision+1000, 10))
	_, err = b.Catalog.GetFilm(ctx, &pb.GetFilmRequest{Name: "films/a"})
	assert.Equal(t, codes.Unavailable, status.Code(err), "better no answer than an old one")
}

// A request_id means the same on another replica and after a restart.
func TestRequestIDAcrossReplicasAndRestarts(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	req := &pb.CreateFilmRequest{FilmId: "once", Film: feature("once"), RequestId: uuid.NewString()}
	first, err := a.Catalog.CreateFilm(t.Context(), req)
	require.NoError(t, err)
	again, err := b.Catalog.CreateFilm(t.Context(), req)
	require.NoError(t, err)
	sameMessage(t, first, again)
	a.Restart()
	again, err = a.Catalog.CreateFilm(t.Context(), req)
	require.NoError(t, err)
	sameMessage(t, first, again)
}

func TestP11_ColdStartWithRedisDown(t *testing.T) {
	t.Parallel()
	const films = 10_000
	theatertest.EachStore(t, func(t *testing.T, store string) {
		t.Parallel()
		redis := theatertest.NewRedis(t)
		h := house.Start(t, app.Config{Store: store, Redis: redis.URL})
		batch := make([]*pb.Film, films)
		for i := range batch {
			batch[i] = feature(fmt.Sprintf("f%d", i))
		}
		began := time.Now()
		load(t, h, batch...)
		t.Logf("import: %.0f films/s", films/time.Since(began).Seconds())
		record(t, h, likes("films/f7", 20, time.Now())...)
		eventually(t, time.Minute, "the chart", func() bool {
			names := hot(t, h, adult, 1)
			return len(names) > 0 && names[0] == "films/f7"
		})
		h.Stop()
		redis.Kill()
		began = time.Now()
		h.Restart()
		t.Logf("ready with %d films after %s", films, time.Since(began))
		assert.Less(t, time.Since(began), 10*time.Second)
		// From the very first answer everything is there.
		list, err := h.Catalog.ListFilms(t.Context(), &pb.ListFilmsRequest{PageSize: 1})
		require.NoError(t, err)
		assert.EqualValues(t, films, list.GetTotalSize())
		assert.Equal(t, "films/f7", hot(t, h, adult, 1)[0])
	})
}

func TestSecondServerOnOneSQLiteFileIsRefused(t *testing.T) {
	t.Parallel()
	store := theatertest.SQLite(t)
	house.Start(t, app.Config{Store: store})
	_, err := app.Open(t.Context(), app.Config{Store: store, Redis: app.EmbeddedRedis, Auth: "open", GRPCAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0", MetricsAddr: "127.0.0.1:0"})
	require.Error(t, err)
	assert.Contains(t, err.Error(), "another process")
}
