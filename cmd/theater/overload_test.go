package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	pb "github.com/aitheater/theater/api/theater/v1"
)

// P12 on the binary: five times as many long lists as it can make, whatever comes back. It
// makes as many as before, pages and take-downs hardly notice, and memory stays in its limit.
func TestP12_OverloadOfTheWholeService(t *testing.T) {
	const memory = 256 << 20
	p := start(t, []string{"GOMAXPROCS=1", fmt.Sprint("GOMEMLIMIT=", memory)}, "serve", "--store", "sqlite:"+filepath.Join(t.TempDir(), "theater.db"))
	var file strings.Builder
	for i := range 1000 {
		fmt.Fprintln(&file, filmLine(fmt.Sprint("f", i), ""))
	}
	got := theater(t, file.String(), "import", "films", "-", "--server", p.addrs.GRPC, "--publish")
	require.Equal(t, exitOK, got.code, got.err)
	o := overload{t: t}
	for range 8 {
		o.conns = append(o.conns, dialTo(t, p.addrs.GRPC))
	}
	var report string
	for range 3 { // another process may take the machine away for a moment
		peak := o.saturate(time.Second)
		o.overwhelm(5*peak, 2*time.Second)
		goodput := float64(o.served) / 2 / peak
		report = fmt.Sprintf("%.0f lists/s, overwhelmed %.0f %% of that; %d refused, %d late; pages %d of %d; take-downs acknowledged within %s, gone within %s",
			peak, 100*goodput, o.refused, o.late, o.pages-o.noPage, o.pages, o.acknowledged.Round(time.Millisecond), o.gone.Round(time.Millisecond))
		t.Log(report)
		assert.Zero(t, o.others, "what is not served is refused or late")
		assert.Less(t, metric(t, p, "go_memory_used_bytes"), float64(memory))
		if goodput > 0.5 && o.refused > 0 && o.noPage*10 <= o.pages && o.gone < 2*time.Second {
			_, err := o.list(t.Context(), 0)
			assert.NoError(t, err, "back to normal")
			return
		}
	}
	t.Fatal(report)
}

// metric gives the sum of a metric's series that have all of some labels; NaN where there is none.
func metric(t testing.TB, p *process, name string, labels ...string) float64 {
	t.Helper()
	resp, err := http.Get("http://" + p.addrs.Metrics + "/metrics")
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	sum, found := 0.0, false
	for _, series := range regexp.MustCompile(`(?m)^`+name+`(\{.*\})? (\S+)$`).FindAllStringSubmatch(string(text), -1) {
		if slices.ContainsFunc(labels, func(l string) bool { return !strings.Contains(series[1], l) }) {
			continue
		}
		value, err := strconv.ParseFloat(series[2], 64)
		require.NoError(t, err)
		sum, found = sum+value, true
	}
	if !found {
		return math.NaN()
	}
	return sum
}

// overload makes it and keeps count.
type overload struct {
	t     testing.TB
	conns []*grpc.ClientConn

	mu                            sync.Mutex
	served, refused, late, others int
	pages, noPage                 int
	acknowledged, gone            time.Duration
}

// list asks for a list that takes long to make: thirty comparisons with every title.
func (o *overload) list(ctx context.Context, n int) (*pb.ListFilmsResponse, error) {
	terms := make([]string, 30)
	for i := range terms {
		terms[i] = fmt.Sprintf("title:\"%d\"", rand.Uint64())
	}
	return pb.NewCatalogServiceClient(o.conns[n%len(o.conns)]).ListFilms(ctx, &pb.ListFilmsRequest{Filter: strings.Join(terms, " OR ")})
}

// saturate calls from a few clients as fast as they can, and gives the rate.
func (o *overload) saturate(length time.Duration) float64 {
	var served atomic.Int64
	var callers sync.WaitGroup
	began := time.Now()
	for i := range 3 {
		callers.Go(func() {
			for time.Since(began) < length {
				if _, err := o.list(o.t.Context(), i); err == nil {
					served.Add(1)
				}
			}
		})
	}
	callers.Wait()
	return float64(served.Load()) / time.Since(began).Seconds()
}

// overwhelm calls at a rate whatever comes back, and sees how the others fare.
func (o *overload) overwhelm(rate float64, length time.Duration) {
	o.served, o.refused, o.late, o.others, o.pages, o.noPage, o.acknowledged, o.gone = 0, 0, 0, 0, 0, 0, 0, 0
	var calls sync.WaitGroup
	began := time.Now()
	calls.Go(func() {
		for sent := 0; time.Since(began) < length; time.Sleep(time.Millisecond) {
			for ; float64(sent) < rate*time.Since(began).Seconds(); sent++ {
				n := sent
				calls.Go(func() { o.count(n) })
			}
		}
	})
	calls.Go(func() {
		for ; time.Since(began) < length; time.Sleep(2 * time.Millisecond) {
			_, err := o.title("films/f0")
			if o.pages++; err != nil {
				o.noPage++
			}
		}
	})
	calls.Go(func() {
		for i := 1; time.Since(began) < length; i++ {
			o.takeDown(fmt.Sprint("films/f", i))
			health, err := healthpb.NewHealthClient(o.conns[0]).Check(o.t.Context(), &healthpb.HealthCheckRequest{})
			assert.NoError(o.t, err)
			assert.Equal(o.t, healthpb.HealthCheckResponse_SERVING, health.GetStatus())
			time.Sleep(100 * time.Millisecond)
		}
	})
	calls.Wait()
}

func (o *overload) count(n int) {
	ctx, cancel := context.WithTimeout(o.t.Context(), time.Second)
	defer cancel()
	_, err := o.list(ctx, n)
	o.mu.Lock()
	defer o.mu.Unlock()
	switch status.Code(err) {
	case codes.OK:
		o.served++
	case codes.ResourceExhausted:
		o.refused++
	case codes.DeadlineExceeded:
		o.late++
	default:
		o.others++
	}
}

func (o *overload) title(name string) (*pb.GetTitleResponse, error) {
	return pb.NewListingServiceClient(o.conns[1]).GetTitle(o.t.Context(), &pb.GetTitleRequest{Name: name, Viewer: &pb.Viewer{Market: "US", Audience: pb.Viewer_ADULT}})
}

// takeDown measures how long it takes until nobody sees a film any more.
func (o *overload) takeDown(name string) {
	asked := time.Now()
	_, err := pb.NewCatalogServiceClient(o.conns[0]).TakeDownFilm(o.t.Context(), &pb.TakeDownFilmRequest{Name: name, Reason: "test"})
	if !assert.NoError(o.t, err, "a take-down is never refused") {
		return
	}
	o.acknowledged = max(o.acknowledged, time.Since(asked))
	for {
		if _, err := o.title(name); status.Code(err) == codes.NotFound {
			break
		}
	}
	o.gone = max(o.gone, time.Since(asked))
}
