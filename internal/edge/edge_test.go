package edge_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/edge"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rooms is the smallest house behind the door: each method does what the test says.
type rooms struct {
	pb.UnimplementedCatalogServiceServer
	pb.UnimplementedListingServiceServer
	get      func(context.Context, *pb.GetFilmRequest) (*pb.Film, error)
	create   func(context.Context, *pb.CreateFilmRequest) (*pb.Film, error)
	takeDown func(context.Context, *pb.TakeDownFilmRequest) (*pb.TakeDownFilmResponse, error)
	title    func(context.Context, *pb.GetTitleRequest) (*pb.GetTitleResponse, error)
	imp      func(grpc.BidiStreamingServer[pb.ImportFilmsRequest, pb.ImportFilmsResponse]) error
	watch    func(*pb.WatchFilmsRequest, grpc.ServerStreamingServer[pb.WatchFilmsResponse]) error
	export   func(*pb.ExportFilmsRequest, grpc.ServerStreamingServer[pb.ExportFilmsResponse]) error
}

func (r *rooms) GetFilm(ctx context.Context, req *pb.GetFilmRequest) (*pb.Film, error) {
	return r.get(ctx, req)
}
func (r *rooms) CreateFilm(ctx context.Context, req *pb.CreateFilmRequest) (*pb.Film, error) {
	return r.create(ctx, req)
}
func (r *rooms) TakeDownFilm(ctx context.Context, req *pb.TakeDownFilmRequest) (*pb.TakeDownFilmResponse, error) {
	return r.takeDown(ctx, req)
}
func (r *rooms) GetTitle(ctx context.Context, req *pb.GetTitleRequest) (*pb.GetTitleResponse, error) {
	return r.title(ctx, req)
}
func (r *rooms) ImportFilms(s grpc.BidiStreamingServer[pb.ImportFilmsRequest, pb.ImportFilmsResponse]) error {
	return r.imp(s)
}
func (r *rooms) WatchFilms(req *pb.WatchFilmsRequest, s grpc.ServerStreamingServer[pb.WatchFilmsResponse]) error {
	return r.watch(req, s)
}
func (r *rooms) ExportFilms(req *pb.ExportFilmsRequest, s grpc.ServerStreamingServer[pb.ExportFilmsResponse]) error {
	return r.export(req, s)
}

// ListGenres exists in both services; neither is called here.
func (r *rooms) register(s grpc.ServiceRegistrar) {
	pb.RegisterCatalogServiceServer(s, catalog{r})
	pb.RegisterListingServiceServer(s, listing{r})
}

type catalog struct{ *rooms }

func (c catalog) ListGenres(ctx context.Context, req *pb.ListGenresRequest) (*pb.ListGenresResponse, error) {
	return c.UnimplementedCatalogServiceServer.ListGenres(ctx, req)
}

type listing struct{ *rooms }

func (l listing) ListGenres(ctx context.Context, req *pb.ListingServiceListGenresRequest) (*pb.ListingServiceListGenresResponse, error) {
	return l.UnimplementedListingServiceServer.ListGenres(ctx, req)
}

// revisions is the change log of a process that has applied a number.
type revisions struct{ applied atomic.Int64 }

func (r *revisions) Applied() int64 { return r.applied.Load() }
func (r *revisions) Wait(ctx context.Context, revision int64, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for r.applied.Load() < revision {
		select {
		case <-ctx.Done():
			return notApplied
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

// house is a served door with everything a test wants to turn.
type house struct {
	*rooms
	revisions revisions
	notReady  atomic.Bool
	degraded  atomic.Value
	log       *lines
	server    *edge.Server
	stop      func() error
}

// lines is a log that may be read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) { l.mu.Lock(); defer l.mu.Unlock(); return l.b.Write(p) }
func (l *lines) String() string              { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }

func open(t testing.TB, change func(*edge.Config)) *house {
	t.Helper()
	h := &house{rooms: &rooms{}, log: &lines{}}
	h.degraded.Store("")
	c := edge.Config{
		GRPCAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0", MetricsAddr: "127.0.0.1:0",
		Register: h.register, Auth: auth.Open{}, Log: &h.revisions,
		Ready:    func() bool { return !h.notReady.Load() },
		Degraded: func() string { return h.degraded.Load().(string) },
		Logger:   slog.New(slog.NewJSONHandler(h.log, nil)),
		Drain:    2 * time.Second,
	}
	if change != nil {
		change(&c)
	}
	server, err := edge.New(c)
	require.NoError(t, err)
	h.server = server
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx) }()
	h.stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { require.NoError(t, h.stop()) })
	return h
}

func (h *house) dial(t testing.TB, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(h.server.Addresses().GRPC, append([]grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}, options...)...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return conn
}

// answer is an HTTP response read to its end.
type answer struct {
	status int
	header http.Header
	body   string
}

func (h *house) http(t testing.TB, method, path, body string, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+h.server.Addresses().HTTP+path, bytes.NewBufferString(body))
	require.NoError(t, err)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	transport := &http.Transport{DisableCompression: true, DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return answer{resp.StatusCode, resp.Header, string(b)}
}

func (h *house) post(t testing.TB, rpc, body string, headers ...string) answer {
	t.Helper()
	return h.http(t, http.MethodPost, "/theater.v1."+rpc, body, headers...)
}

// ready is a reply already in wire form, as the listing room gives.
type wire struct{ m proto.Message }

func (w wire) Wire() []byte                    { b, _ := proto.MarshalOptions{Deterministic: true}.Marshal(w.m); return b }
func (w wire) Message() (proto.Message, error) { return w.m, nil }
