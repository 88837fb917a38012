package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/theatertest"
)

// troubles is how often each fault strikes.
const troubles = 5

// stage is a server process on a database and a Redis that can be broken, and viewers who
// look all the time.
type stage struct {
	t             *testing.T
	p             *process
	sql, redis    *theatertest.Server
	toSQL         *theatertest.Proxy
	toRedis       *theatertest.Proxy
	client        *redis.Client // straight to Redis
	conn          *grpc.ClientConn
	catalog       pb.CatalogServiceClient
	listing       pb.ListingServiceClient
	viewers       sync.WaitGroup
	leave         context.CancelFunc
	mu            sync.Mutex
	reads, failed int
	worst         time.Duration
	why           map[string]int
	degraded      string // what the latest answer said
}

func setStage(t *testing.T) *stage {
	s := &stage{t: t, sql: theatertest.NewPostgres(t), redis: theatertest.NewRedis(t), why: map[string]int{}}
	s.toSQL, s.toRedis = theatertest.NewProxy(t, s.sql.Addr), theatertest.NewProxy(t, s.redis.Addr)
	s.client = theatertest.RedisClient(s.redis.URL)
	t.Cleanup(func() { _ = s.client.Close() })
	s.p = start(t, nil, "serve", "--store", s.toSQL.URL(s.sql.URL), "--redis", s.toRedis.URL(s.redis.URL))
	var file strings.Builder
	for i := range 60 {
		fmt.Fprintln(&file, filmLine(fmt.Sprint("f", i), ""))
	}
	got := theater(t, file.String(), "import", "films", "-", "--server", s.p.addrs.GRPC, "--publish")
	require.Equal(t, exitOK, got.code, got.err)
	s.conn = dialTo(t, s.p.addrs.GRPC)
	s.catalog, s.listing = pb.NewCatalogServiceClient(s.conn), pb.NewListingServiceClient(s.conn)
	var events []*pb.Event
	for i := range 60 {
		for v := range 1 + i%5 {
			events = append(events, &pb.Event{Film: fmt.Sprint("films/f", i), ViewerKey: fmt.Sprint("v", v), Market: "US", Kind: pb.Event_LIKE, OccurTime: timestamppb.Now(), Audience: pb.Viewer_ADULT})
		}
	}
	_, err := pb.NewSignalServiceClient(s.conn).RecordEvents(t.Context(), &pb.RecordEventsRequest{Events: events})
	require.NoError(t, err)
	require.True(t, eventuallyTrue(func() bool {
		page, err := s.listing.ListRankedFilms(t.Context(), &pb.ListRankedFilmsRequest{Chart: "charts/hot", Viewer: someone, PageSize: 100})
		return err == nil && len(page.GetFilms()) == 60
	}), "the chart")
	ctx, leave := context.WithCancel(context.Background())
	s.leave = leave
	for range 4 {
		s.viewers.Go(func() { s.look(ctx) })
	}
	t.Cleanup(s.close)
	return s
}

func (s *stage) close() {
	s.leave()
	s.viewers.Wait()
}

var someone = &pb.Viewer{Market: "US", Audience: pb.Viewer_ADULT}

// look turns pages until ctx ends.
func (s *stage) look(ctx context.Context) {
	token := ""
	for n := 0; ctx.Err() == nil; n++ {
		var trailer metadata.MD
		began := time.Now()
		limited, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		var err error
		switch n % 3 {
		case 0:
			var page *pb.ListRankedFilmsResponse
			page, err = s.listing.ListRankedFilms(limited, &pb.ListRankedFilmsRequest{Chart: "charts/hot", Viewer: someone, PageSize: 10, PageToken: token}, grpc.Trailer(&trailer))
			if err == nil && len(page.GetFilms()) == 0 {
				err = status.Error(codes.DataLoss, "an empty list")
			}
			token = page.GetNextPageToken()
		case 1:
			_, err = s.listing.GetHome(limited, &pb.GetHomeRequest{Viewer: someone}, grpc.Trailer(&trailer))
		case 2:
			_, err = s.catalog.GetFilm(limited, &pb.GetFilmRequest{Name: "films/f1"}, grpc.Trailer(&trailer))
		}
		cancel()
		s.note(time.Since(began), strings.Join(trailer.Get("theater-degraded"), ","), err)
		time.Sleep(time.Millisecond)
	}
}

func (s *stage) note(took time.Duration, degraded string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	s.worst = max(s.worst, took)
	if err != nil {
		s.failed++
		s.why[err.Error()]++
		return
	}
	s.degraded = degraded
}

// says waits until answers call something degraded, or not any more.
func (s *stage) says(what string, is bool) time.Duration {
	s.t.Helper()
	began := time.Now()
	require.True(s.t, eventuallyTrue(func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return slices.Contains(strings.Split(s.degraded, ","), what) == is
	}), "degraded %s: want %v", what, is)
	return time.Since(began)
}

// healthy waits until the metric of a dependency says so.
func (s *stage) healthy(dependency string, want float64) {
	s.t.Helper()
	require.True(s.t, eventuallyTrue(func() bool {
		return metric(s.t, s.p, "theater_dependency_healthy", fmt.Sprintf("dependency=%q", dependency)) == want
	}), "%s healthy: want %v", dependency, want)
}

// write changes a film and gives how long that took.
func (s *stage) write() (time.Duration, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
	defer cancel()
	began := time.Now()
	_, err := s.catalog.UpdateFilm(ctx, &pb.UpdateFilmRequest{
		Film: &pb.Film{Name: "films/f2", Tags: []string{fmt.Sprint("at-", began.UnixNano())}}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"tags"}},
	})
	return time.Since(began), err
}

// report says how the viewers fared since the last report, and fails if more than one read
// in a thousand did.
func (s *stage) report(fault string, more ...any) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.t.Logf("%-12s %5d reads, %d failed, the slowest %-8s %s", fault, s.reads, s.failed, s.worst.Round(time.Millisecond), fmt.Sprint(more...))
	assert.LessOrEqual(s.t, s.failed*1000, s.reads, "%s: %v", fault, s.why)
	assert.Less(s.t, s.worst, 2*time.Second, "%s: 60 ms for Redis and what a busy machine adds", fault)
	s.reads, s.failed, s.worst, s.why = 0, 0, 0, map[string]int{}
}

func TestP9_WholeServiceWithRedisInTrouble(t *testing.T) {
	t.Parallel()
	s := setStage(t)
	ctx := t.Context()
	hold := func() { time.Sleep(200 * time.Millisecond) }
	config := func(name, value string) { require.NoError(t, s.client.ConfigSet(ctx, name, value).Err()) }
	for _, fault := range []struct {
		name string
		seen bool // answers say that they are degraded
		act  func(seen func())
	}{
		{"killed", true, func(seen func()) { s.redis.Kill(); seen(); s.redis.Start(t) }},
		{"paused", true, func(seen func()) { s.redis.Pause(); seen(); s.redis.Resume() }},
		{"slow", true, func(seen func()) { s.toRedis.Delay(300 * time.Millisecond); seen(); s.toRedis.Heal() }},
		{"silent", true, func(seen func()) { s.toRedis.BlackHole(); seen(); s.toRedis.Heal() }},
		{"resetting", false, func(func()) { s.toRedis.Reset(); hold(); s.toRedis.Reset() }},
		{"flushed", false, func(func()) { require.NoError(t, s.client.FlushAll(ctx).Err()); hold() }},
		{"full", true, func(seen func()) { config("maxmemory", "1"); seen(); config("maxmemory", "0") }},
		{"read-only", true, func(seen func()) {
			require.NoError(t, s.client.ReplicaOf(ctx, "127.0.0.1", "1").Err())
			seen()
			require.NoError(t, s.client.ReplicaOf(ctx, "no", "one").Err())
		}},
		{"poisoned", false, func(func()) {
			theatertest.Poison(t, s.client, "ATGN\x01 nonsense \xff")
			hold()
		}},
	} {
		var back time.Duration
		for range troubles {
			fault.act(func() {
				s.says("redis", true)
				s.healthy("redis", 0)
			})
			began := time.Now()
			s.says("redis", false)
			s.healthy("redis", 1)
			back = max(back, time.Since(began))
			require.True(t, eventuallyTrue(func() bool { _, err := s.write(); return err == nil }), "%s: writing needs no Redis", fault.name)
		}
		s.report(fault.name, "back after ", back.Round(time.Millisecond), " at most")
	}
}

func TestP10_WholeServiceWithSQLInTrouble(t *testing.T) {
	t.Parallel()
	s := setStage(t)
	readOnly := func(on string) {
		c, err := pgx.Connect(t.Context(), s.sql.URL)
		require.NoError(t, err)
		for _, statement := range []string{"ALTER SYSTEM SET default_transaction_read_only = " + on, "SELECT pg_reload_conf()"} {
			_, err = c.Exec(t.Context(), statement)
			require.NoError(t, err)
		}
		require.NoError(t, c.Close(t.Context()))
	}
	for _, fault := range []struct {
		name       string
		seen       bool // answers say that they are degraded
		begin, end func()
	}{
		{"killed", true, s.sql.Kill, func() { s.sql.Start(t) }},
		{"paused", true, s.sql.Pause, s.sql.Resume},
		{"silent", true, s.toSQL.BlackHole, s.toSQL.Heal},
		{"slow", true, func() { s.toSQL.Delay(400 * time.Millisecond) }, s.toSQL.Heal},
		{"cut", true, s.toSQL.Cut, s.toSQL.Heal},
		{"resetting", false, s.toSQL.Reset, s.toSQL.Reset},
		{"read-only", true, func() {
			readOnly("on")
			require.True(t, eventuallyTrue(func() bool { _, err := s.write(); return err != nil }), "the server takes note")
		}, func() { readOnly("off") }},
	} {
		var slowest, back time.Duration
		for range troubles {
			fault.begin()
			for range 3 { // the first before anyone knows
				took, err := s.write()
				if fault.name != "resetting" || err != nil {
					require.Equal(t, codes.Unavailable, status.Code(err), "%s: %v", fault.name, err)
				}
				slowest = max(slowest, took)
			}
			if fault.seen {
				s.says("sql", true)
				s.healthy("sql", 0)
			}
			fault.end()
			began := time.Now()
			require.True(t, eventuallyTrue(func() bool { _, err := s.write(); return err == nil }), fault.name)
			s.says("sql", false)
			back = max(back, time.Since(began))
			s.healthy("sql", 1)
		}
		s.report(fault.name, "writes refused within ", slowest.Round(time.Millisecond), ", back after ", back.Round(time.Millisecond), " at most")
		assert.Less(t, slowest, 4*time.Second, "%s: 500 ms and what a busy machine adds", fault.name)
		assert.Less(t, back, 10*time.Second, "%s: 5 s and what a busy machine adds", fault.name)
	}
}
