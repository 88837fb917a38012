package client_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/client"
	"github.com/aitheater/theater/internal/edge"
	"github.com/aitheater/theater/internal/fault"
)

// theater is a small house behind a real doorway: a chart of 5 films in pages of 2, with a
// generation that can go, and writes that are counted by request_id.
type theater struct {
	pb.UnimplementedListingServiceServer
	mu         sync.Mutex
	generation int64
	failures   int
	writes     map[string]int
}

func (h *theater) ListRankedFilms(_ context.Context, req *pb.ListRankedFilmsRequest) (*pb.ListRankedFilmsResponse, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failures > 0 {
		h.failures--
		return nil, fault.StoreUnavailable(nil)
	}
	from := 0
	if req.PageToken != "" {
		generation, position, _ := strings.Cut(req.PageToken, "/")
		if generation != strconv.FormatInt(h.generation, 10) {
			return nil, fault.New(fault.FailedPrecondition, pb.ErrorReason_SNAPSHOT_EXPIRED, "gone")
		}
		from, _ = strconv.Atoi(position)
	}
	out := &pb.ListRankedFilmsResponse{Generation: &pb.Generation{Number: h.generation}}
	for i := from; i < min(from+2, 5); i++ {
		out.Films = append(out.Films, &pb.RankedFilm{Rank: int32(i + 1), Card: &pb.FilmCard{Name: fmt.Sprintf("films/%c", 'a'+i)}})
	}
	if from+2 < 5 {
		out.NextPageToken = fmt.Sprintf("%d/%d", h.generation, from+2)
	}
	return out, nil
}

type desk struct {
	pb.UnimplementedCatalogServiceServer
	*theater
}

func (d desk) PublishFilm(_ context.Context, req *pb.PublishFilmRequest) (*pb.Film, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.writes[req.RequestId]++
	if d.failures > 0 {
		d.failures--
		return nil, fault.StoreUnavailable(nil)
	}
	return &pb.Film{Name: req.Name}, nil
}

type still struct{}

func (still) Applied() int64                                   { return 1 }
func (still) Wait(context.Context, int64, time.Duration) error { return nil }

// start serves the house; stop ends it gracefully.
func (h *theater) start() (addr string, stop func()) {
	server, err := edge.New(edge.Config{
		GRPCAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0", MetricsAddr: "127.0.0.1:0", Auth: auth.Open{}, Log: still{},
		Ready: func() bool { return true }, Drain: 5 * time.Second, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Register: func(r grpc.ServiceRegistrar) {
			pb.RegisterListingServiceServer(r, h)
			pb.RegisterCatalogServiceServer(r, desk{theater: h})
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(ctx); err != nil {
			log.Print(err)
		}
	}()
	return server.Addresses().GRPC, func() { cancel(); <-done }
}

func opened(t testing.TB) (*theater, pb.ListingServiceClient, pb.CatalogServiceClient) {
	h := &theater{generation: 1, writes: map[string]int{}}
	addr, stop := h.start()
	t.Cleanup(stop)
	conn, err := client.Dial(addr, client.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return h, pb.NewListingServiceClient(conn), pb.NewCatalogServiceClient(conn)
}

var hot = &pb.ListRankedFilmsRequest{Chart: "charts/hot", Viewer: &pb.Viewer{Market: "CN"}}

func TestAPagerGoesOnInTheNextGeneration(t *testing.T) {
	h, listing, _ := opened(t)
	var names []string
	for film, err := range client.Ranked(t.Context(), listing, hot) {
		require.NoError(t, err)
		names = append(names, film.Card.Name)
		if len(names) == 3 {
			h.mu.Lock()
			h.generation = 2
			h.mu.Unlock()
		}
	}
	assert.Equal(t, []string{"films/a", "films/b", "films/c", "films/d", "films/e"}, names)
	assert.Empty(t, hot.PageToken, "the request was changed")
}

func TestAnErrorEndsThePages(t *testing.T) {
	_, listing, _ := opened(t)
	n := 0
	for _, err := range client.Ranked(t.Context(), listing, &pb.ListRankedFilmsRequest{Chart: "charts/hot"}) {
		n++
		assert.Equal(t, pb.ErrorReason_INVALID_FIELD, client.Reason(err), "%v", err)
	}
	assert.Equal(t, 1, n)
	assert.Zero(t, client.Reason(nil))
}

func TestCallsAreRepeatedOnlyAsTheSameCall(t *testing.T) {
	h, listing, catalog := opened(t)
	h.failures = 2
	_, err := listing.ListRankedFilms(t.Context(), hot)
	require.NoError(t, err)
	h.failures = 2
	req := &pb.PublishFilmRequest{Name: "films/a"}
	_, err = catalog.PublishFilm(t.Context(), req)
	require.NoError(t, err)
	assert.Empty(t, req.RequestId, "the caller's message was changed")
	require.Len(t, h.writes, 1, "each repetition had the same request_id")
	for id, n := range h.writes {
		assert.Len(t, id, 36)
		assert.Equal(t, 3, n)
	}
}

// TestP13RollingRestartsFailNoCall replaces two servers one after the other, several times,
// under calls by a client with the shipped service config.
func TestP13RollingRestartsFailNoCall(t *testing.T) {
	h := &theater{generation: 1, writes: map[string]int{}}
	r := manual.NewBuilderWithScheme("houses")
	var addrs [2]string
	var stops [2]func()
	publish := func() {
		r.UpdateState(resolver.State{Addresses: []resolver.Address{{Addr: addrs[0]}, {Addr: addrs[1]}}})
	}
	for i := range addrs {
		addrs[i], stops[i] = h.start()
	}
	r.InitialState(resolver.State{Addresses: []resolver.Address{{Addr: addrs[0]}, {Addr: addrs[1]}}})
	conn, err := client.Dial("houses:///x", client.Options{}, grpc.WithResolvers(r))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var calls sync.WaitGroup
	for range 8 {
		calls.Go(func() {
			listing, catalog := pb.NewListingServiceClient(conn), pb.NewCatalogServiceClient(conn)
			for ctx.Err() == nil {
				_, err := listing.ListRankedFilms(t.Context(), hot)
				assert.NoError(t, err)
				_, err = catalog.PublishFilm(t.Context(), &pb.PublishFilmRequest{Name: "films/a"})
				assert.NoError(t, err)
			}
		})
	}
	for round := range 10 {
		time.Sleep(50 * time.Millisecond)
		i := round % 2
		old := stops[i]
		addrs[i], stops[i] = h.start()
		publish()
		old()
	}
	cancel()
	calls.Wait()
	require.NoError(t, conn.Close())
	stops[0]()
	stops[1]()
}

func ExampleRanked() {
	addr, stop := (&theater{generation: 1}).start()
	defer stop()
	conn, err := client.Dial(addr, client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	viewer := &pb.Viewer{Market: "CN", Languages: []string{"zh-Hans"}, Audience: pb.Viewer_ADULT}
	for film, err := range client.Ranked(context.Background(), pb.NewListingServiceClient(conn), &pb.ListRankedFilmsRequest{Chart: "charts/hot", Viewer: viewer}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(film.Rank, film.Card.Name)
	}
	// Output:
	// 1 films/a
	// 2 films/b
	// 3 films/c
	// 4 films/d
	// 5 films/e
}
