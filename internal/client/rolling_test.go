package client_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/app"
	"github.com/aitheater/theater/internal/client"
	"github.com/aitheater/theater/internal/theatertest"
	"github.com/aitheater/theater/internal/theatertest/house"
)

// load is what front ends, players and an editor do all the time through one connection. A
// call that fails, for whatever reason, fails the test.
type load struct {
	t    *testing.T
	conn *grpc.ClientConn
	// calls are those answered, slowest the longest of them.
	calls, slowest atomic.Int64
	failed         sync.Once // one is told; after an outage there would be thousands

	mu      sync.Mutex
	created []string // films, in the order of their acknowledgements
}

// call makes one call, which has 30 s: what a restart costs a caller is time.
func (l *load) call(name string, do func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	began := time.Now()
	if err := do(ctx); err != nil {
		l.failed.Do(func() { l.t.Errorf("%s failed after %s: %v", name, time.Since(began), err) })
		return
	}
	l.calls.Add(1)
	for took := int64(time.Since(began)); ; {
		slowest := l.slowest.Load()
		if took <= slowest || l.slowest.CompareAndSwap(slowest, took) {
			return
		}
	}
}

// look asks for what a front end shows.
func (l *load) look(until context.Context) {
	listing := pb.NewListingServiceClient(l.conn)
	for ; until.Err() == nil; time.Sleep(2 * time.Millisecond) {
		l.call("ListRankedFilms", func(ctx context.Context) error {
			page, err := listing.ListRankedFilms(ctx, &pb.ListRankedFilmsRequest{Chart: "charts/hot", Viewer: adult})
			if err == nil && len(page.GetFilms()) == 0 {
				err = fmt.Errorf("an empty chart")
			}
			return err
		})
		l.call("GetHome", func(ctx context.Context) error {
			_, err := listing.GetHome(ctx, &pb.GetHomeRequest{Viewer: adult})
			return err
		})
		l.call("GetTitle", func(ctx context.Context) error {
			_, err := listing.GetTitle(ctx, &pb.GetTitleRequest{Name: "films/a", Viewer: adult})
			return err
		})
	}
}

// fresh is the making of a film that watch sees.
func fresh(id string) *pb.CreateFilmRequest {
	f := feature(id)
	f.Tags = []string{"fresh"}
	return &pb.CreateFilmRequest{FilmId: id, Film: f}
}

// edit makes a new film, again and again.
func (l *load) edit(until context.Context) {
	catalog := pb.NewCatalogServiceClient(l.conn)
	for n := 0; until.Err() == nil; n++ {
		l.call("CreateFilm", func(ctx context.Context) error {
			film, err := catalog.CreateFilm(ctx, fresh(fmt.Sprintf("new-%d", n)))
			l.mu.Lock()
			defer l.mu.Unlock()
			l.created = append(l.created, film.GetName())
			return err
		})
		time.Sleep(5 * time.Millisecond)
	}
}

// play reports what is watched.
func (l *load) play(until context.Context) {
	signals := pb.NewSignalServiceClient(l.conn)
	for n := 0; until.Err() == nil; n++ {
		l.call("RecordEvents", func(ctx context.Context) error {
			answer, err := signals.RecordEvents(ctx, &pb.RecordEventsRequest{Events: []*pb.Event{{
				Film: "films/a", ViewerKey: fmt.Sprint("player", n), Market: "US", Kind: pb.Event_LIKE, OccurTime: timestamppb.Now(), Audience: pb.Viewer_ADULT,
			}}})
			if err == nil && answer.GetResults()[0].GetStatus() != pb.EventResult_ACCEPTED {
				err = fmt.Errorf("%s", answer.GetResults()[0].GetReason())
			}
			return err
		})
		time.Sleep(5 * time.Millisecond)
	}
}

// watch follows what edit does from one server to the next by the token of the last message,
// until it has seen a film of this name. It gives the films in the order it was told of them.
func (l *load) watch(last string) (names []string, streams int) {
	catalog := pb.NewCatalogServiceClient(l.conn)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	for token := ""; ; streams++ {
		stream, err := catalog.WatchFilms(ctx, &pb.WatchFilmsRequest{ResumeToken: token, Filter: `tags:"fresh"`})
		for err == nil {
			var m *pb.WatchFilmsResponse
			if m, err = stream.Recv(); err != nil {
				break
			}
			token = m.GetResumeToken()
			if m.GetChange() != pb.WatchFilmsResponse_UPSERTED {
				continue
			}
			names = append(names, m.GetFilm().GetName())
			if m.GetFilm().GetName() == last {
				return names, streams
			}
		}
		if status.Code(err) != codes.Unavailable {
			l.t.Errorf("a stream ended with %v", err)
			return names, streams
		}
	}
}

// TestP13_TwentyRollingRestartsOfThreeServers stops and starts three servers in turn, each
// on its own address, under everything that goes on at a theatre.
func TestP13_TwentyRollingRestartsOfThreeServers(t *testing.T) {
	t.Parallel()
	store, redis := theatertest.Postgres(t), theatertest.Redis(t)
	var servers [3]*house.House
	var addrs []resolver.Address
	for i := range servers {
		servers[i] = house.Start(t, app.Config{Store: store, Redis: redis, GRPCAddr: theatertest.FreeAddr(t)})
		addrs = append(addrs, resolver.Address{Addr: servers[i].Addrs.GRPC})
	}
	season(t, servers[0].Catalog, servers[0].Signals, servers[0].Listing, servers[1].Listing, servers[2].Listing)
	r := manual.NewBuilderWithScheme("theatre")
	r.InitialState(resolver.State{Addresses: addrs})
	conn, err := client.Dial("theatre:///", client.Options{}, grpc.WithResolvers(r))
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()

	l := &load{t: t, conn: conn}
	until, stop := context.WithCancel(t.Context())
	defer stop()
	var everyone sync.WaitGroup
	for _, work := range []func(context.Context){l.look, l.look, l.edit, l.play} {
		everyone.Go(func() { work(until) })
	}
	var watched []string
	var streams int
	var watching sync.WaitGroup
	watching.Go(func() { watched, streams = l.watch("films/last") })
	began := time.Now()
	for i := range 20 {
		before := l.calls.Load()
		servers[i%3].Restart()
		require.Eventually(t, func() bool { return l.calls.Load() > before+300 || t.Failed() }, time.Minute, 5*time.Millisecond, "the load stands still")
	}
	stop()
	everyone.Wait()
	t.Logf("20 restarts in %s: %d calls, none failed; the slowest took %s", time.Since(began), l.calls.Load(), time.Duration(l.slowest.Load()))

	var trailer metadata.MD
	_, err = servers[0].Catalog.CreateFilm(t.Context(), fresh("last"), grpc.Trailer(&trailer))
	require.NoError(t, err)
	watching.Wait()
	assert.Equal(t, append(l.created, "films/last"), watched, "each film once, in the order of the writes")
	assert.Positive(t, streams)
	t.Logf("%d films followed over %d streams", len(watched), streams+1)
	after := metadata.AppendToOutgoingContext(t.Context(), "theater-min-revision", trailer.Get("theater-revision")[0])
	for _, h := range servers {
		list, err := h.Catalog.ListFilms(after, &pb.ListFilmsRequest{PageSize: 1, Filter: `tags:"fresh"`})
		require.NoError(t, err)
		assert.EqualValues(t, len(watched), list.GetTotalSize())
	}
}
