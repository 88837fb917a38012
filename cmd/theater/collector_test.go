package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/theatertest"
)

// A collector that is away, takes everything and answers nothing, or reads a few bytes a
// second, costs calls nothing and the end at most 2 s; what is lost is counted, and when it
// is back, so are the spans.
func TestP17_CollectorInTrouble(t *testing.T) {
	t.Parallel()
	for name, trouble := range map[string]func(*theatertest.Proxy){
		"away": (*theatertest.Proxy).Cut, "silent": (*theatertest.Proxy).BlackHole,
		"slow": func(p *theatertest.Proxy) { p.Throttle(100) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			collector := theatertest.NewCollector(t)
			proxy := theatertest.NewProxy(t, strings.TrimPrefix(collector.URL, "http://"))
			p := start(t, append(collector.Env(), "OTEL_EXPORTER_OTLP_ENDPOINT="+proxy.URL(collector.URL),
				"OTEL_EXPORTER_OTLP_TIMEOUT=1000", "OTEL_BSP_MAX_QUEUE_SIZE=64", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE=32"),
				"serve", "--store", "sqlite:"+filepath.Join(t.TempDir(), "theater.db"))
			got := theater(t, filmLine("a", ""), "import", "films", "-", "--server", p.addrs.GRPC, "--publish")
			require.Equal(t, exitOK, got.code, got.err)
			listing := pb.NewListingServiceClient(dialTo(t, p.addrs.GRPC))
			look := func() (median, worst time.Duration) {
				took := make([]time.Duration, 500)
				for i := range took {
					began := time.Now()
					_, err := listing.GetTitle(t.Context(), &pb.GetTitleRequest{Name: "films/a", Viewer: &pb.Viewer{Market: "US", Audience: pb.Viewer_ADULT}})
					require.NoError(t, err)
					took[i] = time.Since(began)
				}
				slices.Sort(took)
				return took[len(took)/2], took[len(took)-1]
			}
			healthy := func() float64 {
				return metric(t, p, "theater_dependency_healthy", `dependency="collector"`)
			}
			spans := func(outcome string) float64 {
				return metric(t, p, "theater_telemetry_items_total", `signal="traces"`, fmt.Sprintf("outcome=%q", outcome))
			}
			require.True(t, eventuallyTrue(func() bool { look(); return healthy() == 1 && spans("exported") > 0 }))
			before, worstBefore := look()

			trouble(proxy)
			lost := spans("dropped") + spans("failed")
			var during, worst time.Duration
			require.True(t, eventuallyTrue(func() bool {
				during, worst = look()
				return healthy() == 0 && spans("dropped")+spans("failed") > lost+500
			}), "what is lost is counted")
			t.Logf("a call took %s, at most %s; with the collector %s %s, at most %s", before, worstBefore, name, during, worst)
			assert.Less(t, during, 3*before+100*time.Millisecond)

			proxy.Heal()
			sent := spans("exported")
			require.True(t, eventuallyTrue(func() bool { look(); return healthy() == 1 && spans("exported") > sent }), "it is back")

			trouble(proxy)
			look()
			code, took := p.stop()
			assert.Equal(t, exitOK, code)
			assert.Less(t, took, 6*time.Second, "2 s and what a busy machine adds")
			t.Logf("stopped in %s", took)
		})
	}
}
