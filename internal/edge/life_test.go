package edge_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/edge"
	"github.com/aitheater/theater/internal/fault"
)

func TestHealthFollowsReadiness(t *testing.T) {
	h := open(t, nil)
	client := healthpb.NewHealthClient(h.dial(t))
	ops := "http://" + h.server.Addresses().Metrics
	get := func(path string) int {
		r, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get(ops + path)
		require.NoError(t, err)
		require.NoError(t, r.Body.Close())
		return r.StatusCode
	}
	for _, ready := range []bool{true, false, true} {
		h.notReady.Store(!ready)
		want := healthpb.HealthCheckResponse_NOT_SERVING
		code := http.StatusServiceUnavailable
		if ready {
			want, code = healthpb.HealthCheckResponse_SERVING, http.StatusOK
		}
		for _, service := range []string{"", "theater.v1.CatalogService", "theater.v1.ListingService"} {
			assert.Eventually(t, func() bool {
				r, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{Service: service})
				return err == nil && r.Status == want
			}, 30*time.Second, 10*time.Millisecond, "%q ready=%v", service, ready)
		}
		assert.Equal(t, code, get("/readyz"))
		assert.Equal(t, http.StatusOK, get("/healthz"))
	}
	assert.Equal(t, http.StatusOK, get("/debug/pprof/cmdline"), "loopback")
}

func TestReflectionIsByFlag(t *testing.T) {
	list := func(h *house) error {
		s, err := reflectionpb.NewServerReflectionClient(h.dial(t)).ServerReflectionInfo(t.Context())
		require.NoError(t, err)
		// io.EOF says that the server has refused already; Recv says why.
		if err := s.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}); err != nil {
			require.ErrorIs(t, err, io.EOF)
		}
		r, err := s.Recv()
		if err == nil {
			assert.Contains(t, r.String(), "theater.v1.CatalogService")
		}
		return err
	}
	assert.Equal(t, codes.Unimplemented, status.Code(list(open(t, nil))))
	assert.NoError(t, list(open(t, func(c *edge.Config) { c.Reflection = true })))
}

// TestP13StopLosesNoUnaryCall stops under load: calls that were begun are answered.
func TestP13StopLosesNoUnaryCall(t *testing.T) {
	h := open(t, func(c *edge.Config) { c.Drain = 10 * time.Second })
	started := make(chan struct{}, 100)
	h.get = func(context.Context, *pb.GetFilmRequest) (*pb.Film, error) {
		started <- struct{}{}
		time.Sleep(300 * time.Millisecond)
		return &pb.Film{}, nil
	}
	client := pb.NewCatalogServiceClient(h.dial(t))
	var calls sync.WaitGroup
	for range 20 {
		// A busy machine may refuse a call before it has begun.
		calls.Go(func() {
			err := status.Error(codes.ResourceExhausted, "")
			for ; status.Code(err) == codes.ResourceExhausted; time.Sleep(10 * time.Millisecond) {
				_, err = client.GetFilm(t.Context(), &pb.GetFilmRequest{Name: "films/a"})
			}
			assert.NoError(t, err)
		})
		calls.Go(func() {
			code := http.StatusTooManyRequests
			for ; code == http.StatusTooManyRequests; time.Sleep(10 * time.Millisecond) {
				code = h.post(t, "CatalogService/GetFilm", `{"name":"films/a"}`).status
			}
			assert.Equal(t, http.StatusOK, code)
		})
	}
	for range 40 {
		<-started
	}
	begin := time.Now()
	require.NoError(t, h.stop())
	calls.Wait()
	assert.Less(t, time.Since(begin), 5*time.Second)
}

// TestP13StreamsEndWhenTheServerStops has every kind of stream open, also idle ones that
// only wait, and a health watch, which makes a plain graceful stop hang for ever.
func TestP13StreamsEndWhenTheServerStops(t *testing.T) {
	h := open(t, func(c *edge.Config) { c.Drain = 20 * time.Second; c.Reflection = true })
	var inside sync.WaitGroup
	inside.Add(2)
	h.watch = func(_ *pb.WatchFilmsRequest, s grpc.ServerStreamingServer[pb.WatchFilmsResponse]) error {
		inside.Done()
		<-s.Context().Done()
		if err := s.Send(&pb.WatchFilmsResponse{ResumeToken: "go on here"}); err != nil {
			return err
		}
		return s.Context().Err()
	}
	h.imp = func(s grpc.BidiStreamingServer[pb.ImportFilmsRequest, pb.ImportFilmsResponse]) error {
		inside.Done()
		_, err := s.Recv()
		assert.Error(t, err)
		return fault.New(fault.Cancelled, pb.ErrorReason_CANCELLED, "the caller went away") // as a room sees it
	}
	conn := h.dial(t)
	watch, err := pb.NewCatalogServiceClient(conn).WatchFilms(t.Context(), &pb.WatchFilmsRequest{})
	require.NoError(t, err)
	imp, err := pb.NewCatalogServiceClient(conn).ImportFilms(t.Context())
	require.NoError(t, err)
	health, err := healthpb.NewHealthClient(conn).Watch(t.Context(), &healthpb.HealthCheckRequest{})
	require.NoError(t, err)
	_, err = health.Recv()
	require.NoError(t, err)
	_, err = reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	require.NoError(t, err)
	inside.Wait()
	begin := time.Now()
	require.NoError(t, h.stop())
	assert.Less(t, time.Since(begin), 5*time.Second, "idle streams held the server up")
	m, err := watch.Recv()
	require.NoError(t, err, "a stream may say where to go on")
	assert.Equal(t, "go on here", m.ResumeToken)
	for _, err := range []error{second(watch.Recv()), second(imp.Recv())} {
		code, why := reason(t, err)
		assert.Equal(t, codes.Unavailable, code)
		assert.Equal(t, "REPLICA_NOT_READY", why)
	}
}

func second[T any](_ T, err error) error { return err }

// TestP13AStuckStreamDoesNotHoldTheEnd has a handler that writes to a client who never reads
// and one over HTTP that ignores the end of its context for a while.
func TestP13AStuckStreamDoesNotHoldTheEnd(t *testing.T) {
	h := open(t, func(c *edge.Config) { c.Drain = 500 * time.Millisecond })
	inside, out := make(chan struct{}), make(chan error, 1)
	h.watch = func(_ *pb.WatchFilmsRequest, s grpc.ServerStreamingServer[pb.WatchFilmsResponse]) error {
		close(inside)
		for {
			if err := s.Send(&pb.WatchFilmsResponse{ResumeToken: strings.Repeat("x", 100_000)}); err != nil {
				out <- err
				return err
			}
		}
	}
	_, err := pb.NewCatalogServiceClient(h.dial(t)).WatchFilms(t.Context(), &pb.WatchFilmsRequest{})
	require.NoError(t, err)
	<-inside
	begin := time.Now()
	require.NoError(t, h.stop())
	assert.Less(t, time.Since(begin), 3*time.Second)
	assert.Error(t, <-out)
}

func TestABusyPortIsAnErrorAtTheStart(t *testing.T) {
	h := open(t, nil)
	_, err := edge.New(edge.Config{
		GRPCAddr: h.server.Addresses().GRPC, HTTPAddr: "127.0.0.1:0", MetricsAddr: "127.0.0.1:0",
		Register: h.register, Auth: edge.Config{}.Auth, Log: &h.revisions,
	})
	assert.ErrorContains(t, err, "in use")
}
