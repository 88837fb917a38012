package edge_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/edge"
)

func retryOf(t testing.TB, err error) time.Duration {
	t.Helper()
	for _, d := range status.Convert(err).Details() {
		if r, ok := d.(*errdetails.RetryInfo); ok {
			return r.RetryDelay.AsDuration()
		}
	}
	t.Errorf("%v has no RetryInfo", err)
	return 0
}

func TestP12SheddingKeepsTheOrderOfPriorities(t *testing.T) {
	s := edge.NewShedder()
	s.SetLimit(100)
	admitted := map[string]int{}
	for _, p := range []string{"bulk", "gets", "pages"} {
		for s.Enter(p) == nil {
			admitted[p]++
		}
	}
	assert.Equal(t, map[string]int{"bulk": 50, "gets": 30, "pages": 20}, admitted, "what is left for each when the one below takes all it may")
	for range 1000 {
		require.NoError(t, s.Enter("vital"), "a take-down is never refused for load")
	}
	err := edge.Status(asFault(t, s.Enter("pages"))).Err()
	assert.Equal(t, codes.ResourceExhausted, status.Code(err))
	assert.InDelta(t, time.Second, retryOf(t, err), float64(500*time.Millisecond))
}

func TestP12TheLimitFollowsTheProcessor(t *testing.T) {
	s := edge.NewShedder()
	for range 200 {
		require.NoError(t, s.Enter("bulk"))
	}
	s.Adjust(50 * time.Millisecond)
	assert.Equal(t, int64(160), s.Limit(), "at once below what was in flight")
	for range 100 {
		s.Adjust(50 * time.Millisecond)
	}
	assert.Equal(t, int64(16), s.Limit(), "never nothing")
	for range 200 {
		s.Adjust(0)
	}
	assert.Equal(t, int64(4096), s.Limit(), "and back by itself")
}

func TestP12RefusalsAreQuickAndCallsInFlightFinish(t *testing.T) {
	h := open(t, nil)
	release := make(chan struct{})
	h.title = func(context.Context, *pb.GetTitleRequest) (*pb.GetTitleResponse, error) {
		<-release
		return &pb.GetTitleResponse{}, nil
	}
	edge.SetLimit(h.server, 10)
	client := pb.NewListingServiceClient(h.dial(t))
	req := &pb.GetTitleRequest{Name: "films/a", Viewer: &pb.Viewer{Market: "CN"}}
	var calls sync.WaitGroup
	for range 10 {
		calls.Go(func() {
			_, err := client.GetTitle(t.Context(), req)
			assert.NoError(t, err)
		})
	}
	require.Eventually(t, func() bool { return edge.Inflight(h.server) == 10 }, 10*time.Second, time.Millisecond)
	edge.SetLimit(h.server, 10)
	begin := time.Now()
	_, err := client.GetTitle(t.Context(), req)
	assert.Less(t, time.Since(begin), time.Second)
	code, why := reason(t, err)
	assert.Equal(t, codes.ResourceExhausted, code)
	assert.Equal(t, "OVERLOADED", why)
	a := h.post(t, "ListingService/GetTitle", viewerJSON)
	assert.Equal(t, 429, a.status)
	close(release)
	calls.Wait()
	assert.Zero(t, edge.Inflight(h.server))
}

func TestQuotasArePerCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := edge.NewQuota(10)
		taken := func(who string) (n int) {
			for q.Take(who, time.Now()) == nil {
				n++
			}
			return n
		}
		assert.Equal(t, 20, taken("a"), "two seconds' worth at once")
		assert.Equal(t, 20, taken("b"), "of its own")
		time.Sleep(time.Second)
		assert.Equal(t, 10, taken("a"))
		err := edge.Status(asFault(t, q.Take("a", time.Now()))).Err()
		assert.InDelta(t, 100*time.Millisecond, retryOf(t, err), float64(10*time.Millisecond))
		time.Sleep(time.Hour)
		assert.Equal(t, 20, taken("a"), "an idle hour saves nothing up")
	})
}

func TestAQuotaIsEnforcedAtTheDoor(t *testing.T) {
	h := open(t, func(c *edge.Config) { c.Quota = 1 })
	h.get = func(context.Context, *pb.GetFilmRequest) (*pb.Film, error) { return &pb.Film{}, nil }
	client := pb.NewCatalogServiceClient(h.dial(t))
	var err error
	for range 10 {
		if _, err = client.GetFilm(t.Context(), &pb.GetFilmRequest{Name: "films/a"}); err != nil {
			break
		}
	}
	code, why := reason(t, err)
	assert.Equal(t, codes.ResourceExhausted, code)
	assert.Equal(t, "QUOTA_EXCEEDED", why)
}

func TestDeniedAttemptsAreTold(t *testing.T) {
	static, err := auth.ParseStatic([]byte(`{"0123456789abcdef": {"id": "web", "roles": ["VIEWER"]}}`))
	require.NoError(t, err)
	var mu sync.Mutex
	var told []edge.Denied
	h := open(t, func(c *edge.Config) {
		c.Auth = static
		c.Denied = func(_ context.Context, d edge.Denied) error {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, d)
			return nil
		}
	})
	client := pb.NewCatalogServiceClient(h.dial(t))
	for range 5 {
		_, err := client.CreateFilm(t.Context(), &pb.CreateFilmRequest{}, grpc.PerRPCCredentials(token("0123456789abcdef")))
		code, _ := reason(t, err)
		assert.Equal(t, codes.PermissionDenied, code)
	}
	_, err = client.ListFilms(t.Context(), &pb.ListFilmsRequest{}, grpc.PerRPCCredentials(token("0123456789abcdef")))
	assert.Error(t, err, "a read is no attempt to change something")
	_, err = client.CreateFilm(t.Context(), &pb.CreateFilmRequest{})
	assert.Equal(t, codes.Unauthenticated, status.Code(err), "nobody has no name to tell")
	require.NoError(t, h.stop())
	require.Len(t, told, 1)
	assert.Equal(t, edge.Denied{Caller: "web", Method: "theater.v1.CatalogService/CreateFilm", Why: "your roles do not allow this method"}, told[0])
	assert.False(t, strings.Contains(h.log.String(), "0123456789abcdef"))
}
