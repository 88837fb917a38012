package app_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/app"
	"github.com/aitheater/theater/internal/theatertest"
	"github.com/aitheater/theater/internal/theatertest/house"
)

// retitle is any editorial write, bounded so that a hang is a failure.
func retitle(h *house.House, film string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	began := time.Now()
	_, err := h.Catalog.UpdateFilm(ctx, &pb.UpdateFilmRequest{
		Film: &pb.Film{Name: film, Tags: []string{fmt.Sprint("at-", began.UnixNano())}}, UpdateMask: mask("tags"),
	})
	return time.Since(began), err
}

// looks asks the viewers' methods for a film that is there, and gives what they say is degraded.
func looks(h *house.House, film string) (degraded []string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	for name, ask := range map[string]func(...grpc.CallOption) error{
		"GetTitle": func(o ...grpc.CallOption) error {
			_, err := h.Listing.GetTitle(ctx, &pb.GetTitleRequest{Name: film, Viewer: adult}, o...)
			return err
		},
		"ListRankedFilms": func(o ...grpc.CallOption) error {
			list, err := h.Listing.ListRankedFilms(ctx, &pb.ListRankedFilmsRequest{Chart: "charts/hot", Viewer: adult}, o...)
			if err == nil && len(list.GetFilms()) == 0 {
				return fmt.Errorf("an empty list")
			}
			return err
		},
		"GetHome": func(o ...grpc.CallOption) error {
			_, err := h.Listing.GetHome(ctx, &pb.GetHomeRequest{Page: "home", Viewer: adult}, o...)
			return err
		},
	} {
		var trailer metadata.MD
		if err := ask(grpc.Trailer(&trailer)); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		degraded = append(degraded, trailer.Get("theater-degraded")...)
	}
	return degraded, nil
}

func TestP10_SQLDown(t *testing.T) {
	t.Parallel()
	server := theatertest.NewPostgres(t)
	h := house.Start(t, app.Config{Store: server.URL, Redis: theatertest.Redis(t)})
	load(t, h, feature("a"))
	record(t, h, likes("films/a", 5, time.Now())...)
	eventually(t, time.Minute, "the chart", func() bool { return len(hot(t, h, adult, 10)) == 1 })
	for _, outage := range []struct {
		name        string
		begin, over func()
	}{
		{"pause", server.Pause, server.Resume},
		{"stop", server.Stop, func() { server.Start(t) }},
		{"kill", server.Kill, func() { server.Start(t) }},
	} {
		outage.begin()
		for range 5 {
			took, err := retitle(h, "films/a")
			assert.Equal(t, codes.Unavailable, status.Code(err), "%s: %v", outage.name, err)
			assert.Less(t, took, 4*time.Second, "%s: 500 ms and what a busy machine adds", outage.name)
		}
		eventually(t, 30*time.Second, "answers say that SQL is away", func() bool {
			degraded, err := looks(h, "films/a")
			require.NoError(t, err, outage.name)
			return slices.Contains(degraded, "sql")
		})
		outage.over()
		back := eventually(t, 30*time.Second, "writes are taken again", func() bool {
			_, err := retitle(h, "films/a")
			return err == nil
		})
		t.Logf("%s: back after %s", outage.name, back)
		eventually(t, 30*time.Second, "answers are whole again", func() bool {
			degraded, err := looks(h, "films/a")
			require.NoError(t, err)
			return !slices.Contains(degraded, "sql")
		})
	}
}

// A replica that starts during an outage does not give up.
func TestP10_StartWaitsForSQL(t *testing.T) {
	t.Parallel()
	server := theatertest.NewPostgres(t)
	config := app.Config{Store: server.URL, Redis: theatertest.Redis(t)}
	_, port, err := net.SplitHostPort(server.Addr)
	require.NoError(t, err)
	refused := config
	refused.Auth, refused.Store = "open", "postgres://nobody:wrong@127.0.0.1:"+port+"/postgres?sslmode=disable"
	refused.GRPCAddr, refused.HTTPAddr, refused.MetricsAddr = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	_, err = app.Open(t.Context(), refused)
	require.Error(t, err, "waiting does not mend this")
	require.NotContains(t, err.Error(), "wrong")

	server.Stop()
	started := make(chan struct{})
	time.AfterFunc(1500*time.Millisecond, func() { defer close(started); server.Start(t) })
	h := house.Start(t, config)
	<-started
	load(t, h, feature("a"))
	took, err := retitle(h, "films/a")
	require.NoError(t, err, took)
}

func TestP4_CutOffReplicaRefusesViewers(t *testing.T) {
	t.Parallel()
	store, redis := theatertest.Postgres(t), theatertest.Redis(t)
	parsed, err := url.Parse(store)
	require.NoError(t, err)
	proxy := theatertest.NewProxy(t, parsed.Host)
	a := house.Start(t, app.Config{Store: store, Redis: redis})
	b := house.Start(t, app.Config{Store: proxy.URL(store), Redis: redis})
	load(t, a, feature("a"), feature("b"))
	record(t, a, append(likes("films/a", 5, time.Now()), likes("films/b", 3, time.Now())...)...)
	eventually(t, time.Minute, "the chart", func() bool { return len(hot(t, b, adult, 10)) == 2 })

	proxy.BlackHole()
	_, err = a.Catalog.TakeDownFilm(t.Context(), &pb.TakeDownFilmRequest{Name: "films/a", Reason: "test"})
	require.NoError(t, err)
	took := eventually(t, 20*time.Second, "the cut-off replica refuses", func() bool {
		_, err := looks(b, "films/b")
		return status.Code(err) == codes.Unavailable
	})
	t.Logf("cut off after %s", took)
	_, err = looks(a, "films/b")
	require.NoError(t, err)
	proxy.Heal()
	eventually(t, 20*time.Second, "it serves again", func() bool { _, err := looks(b, "films/b"); return err == nil })
	where, err := shows(t.Context(), b, "films/a", adult)
	require.NoError(t, err)
	require.Empty(t, where)
}

func TestP3_TakeDownWhateverRedisDoes(t *testing.T) {
	t.Parallel()
	server := theatertest.NewRedis(t)
	c := app.Config{Store: theatertest.Postgres(t), Redis: server.URL}
	a, b := house.Start(t, c), house.Start(t, c)
	load(t, a, feature("canary"), feature("other"))
	record(t, a, append(likes("films/canary", 5, time.Now()), likes("films/other", 3, time.Now())...)...)
	for _, h := range []*house.House{a, b} {
		eventually(t, time.Minute, "the chart", func() bool { return len(hot(t, h, adult, 10)) == 2 })
	}
	client := theatertest.RedisClient(server.URL)
	defer client.Close()
	for _, fault := range []struct {
		name        string
		begin, over func()
	}{
		{"flushed", func() { require.NoError(t, client.FlushAll(t.Context()).Err()) }, func() {}},
		{"poisoned", func() { theatertest.Poison(t, client, "9223372036854775807 \x00\xff") }, func() {}},
		{"paused", server.Pause, server.Resume},
		{"dead", server.Kill, func() { server.Start(t) }},
	} {
		fault.begin()
		_, err := a.Catalog.TakeDownFilm(t.Context(), &pb.TakeDownFilmRequest{Name: "films/canary", Reason: "test"})
		require.NoError(t, err, fault.name)
		for _, h := range []*house.House{a, b} {
			gone := eventually(t, 5*time.Second, "1 s and what a busy machine adds: the film is gone", func() bool {
				where, err := shows(t.Context(), h, "films/canary", adult)
				require.NoError(t, err, fault.name)
				return len(where) == 0
			})
			t.Logf("%s: gone after %s", fault.name, gone)
			for range 5 {
				where, err := shows(t.Context(), h, "films/canary", adult)
				require.NoError(t, err, fault.name)
				require.Empty(t, where, fault.name)
				_, err = looks(h, "films/other")
				require.NoError(t, err, fault.name)
			}
		}
		_, err = a.Catalog.ReinstateFilm(t.Context(), &pb.ReinstateFilmRequest{Name: "films/canary"})
		require.NoError(t, err, fault.name)
		fault.over()
	}
}
