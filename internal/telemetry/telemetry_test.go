package telemetry_test

import (
	"compress/gzip"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	logs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	metrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	traces "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/aitheater/theater/internal/telemetry"
)

// receiver is an OTLP receiver over HTTP.
type receiver struct {
	*httptest.Server
	mu      sync.Mutex
	spans   []*tracepb.Span
	logs    []string
	metrics []string
	service string
	calls   int
}

func receive(t *testing.T) *receiver {
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(r.handle))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) handle(w http.ResponseWriter, req *http.Request) {
	var body io.Reader = req.Body
	if req.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = z
	}
	b, err := io.ReadAll(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls++
	switch req.URL.Path {
	case "/v1/traces":
		var m traces.ExportTraceServiceRequest
		err = proto.Unmarshal(b, &m)
		for _, rs := range m.ResourceSpans {
			for _, a := range rs.Resource.Attributes {
				if a.Key == "service.name" {
					r.service = a.Value.GetStringValue()
				}
			}
			for _, ss := range rs.ScopeSpans {
				r.spans = append(r.spans, ss.Spans...)
			}
		}
	case "/v1/logs":
		var m logs.ExportLogsServiceRequest
		err = proto.Unmarshal(b, &m)
		for _, rl := range m.ResourceLogs {
			for _, sl := range rl.ScopeLogs {
				for _, l := range sl.LogRecords {
					r.logs = append(r.logs, hex.EncodeToString(l.TraceId)+" "+l.Body.GetStringValue())
				}
			}
		}
	case "/v1/metrics":
		var m metrics.ExportMetricsServiceRequest
		err = proto.Unmarshal(b, &m)
		for _, rm := range m.ResourceMetrics {
			for _, sm := range rm.ScopeMetrics {
				for _, metric := range sm.Metrics {
					r.metrics = append(r.metrics, metric.Name)
				}
			}
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}

// fresh gives each test the providers of a new process.
func fresh(t *testing.T, env map[string]string) {
	for _, name := range []string{"OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_SAMPLER"} {
		t.Setenv(name, env[name])
	}
	for name, value := range env {
		t.Setenv(name, value)
	}
	otel.SetTracerProvider(tracenoop.NewTracerProvider())
	otel.SetMeterProvider(metricnoop.NewMeterProvider())
}

const (
	clientTrace = "0af7651916cd43dd8448eb211c80319c"
	sampled     = "00-" + clientTrace + "-b7ad6b7169203331-01"
	unsampled   = "00-" + clientTrace + "-b7ad6b7169203331-00"
)

func TestACallsSpanLogAndMetricReachTheCollector(t *testing.T) {
	r := receive(t)
	fresh(t, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": r.URL, "OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"})
	tel, err := telemetry.Setup(t.Context(), "1.2.3")
	require.NoError(t, err)
	m := tel.Calls.Method("theater.v1.CatalogService", "CreateFilm")
	ctx, call := m.Start(t.Context(), sampled, "")
	assert.True(t, call.Recorded())
	assert.Equal(t, clientTrace, call.TraceID())
	inner, span := telemetry.Start(ctx, "catalog.create")
	tel.Log.InfoContext(inner, "made a film")
	span.End()
	call.End(14, true, "away")
	for _, parent := range []string{unsampled, "", "nonsense"} {
		_, call := m.Start(t.Context(), parent, "")
		assert.False(t, call.Recorded(), parent)
		call.End(0, false, "")
	}
	tel.Shutdown()
	r.mu.Lock()
	defer r.mu.Unlock()
	require.Len(t, r.spans, 2)
	assert.Equal(t, "theater", r.service)
	server := r.spans[1]
	assert.Equal(t, "theater.v1.CatalogService/CreateFilm", server.Name)
	assert.Equal(t, clientTrace, hex.EncodeToString(server.TraceId))
	assert.Equal(t, "b7ad6b7169203331", hex.EncodeToString(server.ParentSpanId))
	assert.Equal(t, server.SpanId, r.spans[0].ParentSpanId)
	assert.Equal(t, tracepb.Span_SPAN_KIND_SERVER, server.Kind)
	assert.Equal(t, tracepb.Status_STATUS_CODE_ERROR, server.Status.Code)
	attributes := map[string]string{}
	for _, a := range server.Attributes {
		attributes[a.Key] = a.Value.String()
	}
	assert.Contains(t, attributes["rpc.system"], "grpc")
	assert.Contains(t, attributes["rpc.service"], "theater.v1.CatalogService")
	assert.Contains(t, attributes["rpc.method"], "CreateFilm")
	assert.Contains(t, attributes["rpc.grpc.status_code"], "14")
	assert.Contains(t, r.logs, clientTrace+" made a film")
	assert.Contains(t, r.metrics, "rpc.server.call.duration")
	assert.Contains(t, strings.Join(r.metrics, " "), "go.memory")
}

func TestMetricsAreServedWithoutACollector(t *testing.T) {
	fresh(t, nil)
	tel, err := telemetry.Setup(t.Context(), "1")
	require.NoError(t, err)
	defer tel.Shutdown()
	m := tel.Calls.Method("theater.v1.X", "Y")
	_, call := m.Start(t.Context(), "", "")
	assert.Empty(t, call.TraceID())
	call.End(5, false, "")
	w := httptest.NewRecorder()
	tel.Metrics.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	assert.Regexp(t, `rpc_server_call_duration_seconds_count\{[^}]*rpc_grpc_status_code="5"[^}]*\} 1`, w.Body.String())
	assert.Contains(t, w.Body.String(), "process_resident_memory_bytes")
}

func TestNothingIsExportedUnlessAsked(t *testing.T) {
	// The collector's default port: whoever exports without being asked comes here.
	l, err := net.Listen("tcp", "127.0.0.1:4318")
	require.NoError(t, err)
	r := &receiver{}
	r.Server = &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(r.handle)}}
	r.Start()
	defer r.Close()
	for name, env := range map[string]map[string]string{
		"nothing set": nil,
		"disabled":    {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": r.URL},
		"none":        {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": r.URL},
	} {
		t.Run(name, func(t *testing.T) {
			fresh(t, env)
			tel, err := telemetry.Setup(t.Context(), "1")
			require.NoError(t, err)
			_, span := telemetry.Start(t.Context(), "x")
			assert.False(t, span.IsRecording())
			span.End()
			tel.Log.Info("x")
			tel.Shutdown()
			r.mu.Lock()
			defer r.mu.Unlock()
			assert.Zero(t, r.calls)
		})
	}
}

func TestABadExporterIsAnErrorAtTheStart(t *testing.T) {
	fresh(t, map[string]string{"OTEL_TRACES_EXPORTER": "carrier-pigeon"})
	_, err := telemetry.Setup(t.Context(), "1")
	assert.Error(t, err)
}

func TestTheRatioDecidesForWholeTraces(t *testing.T) {
	for arg, want := range map[string]int{"0": 0, "1": 20} {
		r := receive(t)
		fresh(t, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": r.URL, "OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": arg})
		tel, err := telemetry.Setup(t.Context(), "1")
		require.NoError(t, err)
		m := tel.Calls.Method("theater.v1.X", "Y")
		for range 10 {
			ctx, call := m.Start(t.Context(), "", "")
			assert.Equal(t, want > 0, call.Recorded())
			assert.Equal(t, want > 0, call.TraceID() != "")
			_, span := telemetry.Start(ctx, "inner")
			span.End()
			call.End(0, false, "")
		}
		tel.Shutdown()
		r.mu.Lock()
		assert.Len(t, r.spans, want, "what a call calls shares its lot")
		r.mu.Unlock()
	}
}

// TestP17ADeadCollectorCostsTheEndTwoSeconds has a collector that takes everything and
// answers nothing.
func TestP17ADeadCollectorCostsTheEndTwoSeconds(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var taken sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	taken.Go(func() {
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			taken.Go(func() { <-ctx.Done(); _ = c.Close() })
		}
	})
	defer taken.Wait()
	defer cancel()
	defer func() { _ = l.Close() }()
	fresh(t, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://" + l.Addr().String()})
	tel, err := telemetry.Setup(t.Context(), "1")
	require.NoError(t, err)
	m := tel.Calls.Method("theater.v1.X", "Y")
	worst := time.Duration(0)
	for range 10_000 { // more than the queue holds
		begin := time.Now()
		_, call := m.Start(t.Context(), sampled, "")
		call.End(0, false, "")
		worst = max(worst, time.Since(begin))
	}
	assert.Less(t, worst, 2*time.Second, "a call waited for the collector")
	tel.Log.Info("x")
	begin := time.Now()
	tel.Shutdown()
	assert.Less(t, time.Since(begin), 5*time.Second, "1.5 s and what a busy machine adds")
}

func BenchmarkCall(b *testing.B) {
	for name, env := range map[string]map[string]string{
		"off":     nil,
		"percent": {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.01"},
	} {
		b.Run(name, func(b *testing.B) {
			for k, v := range env {
				b.Setenv(k, v)
			}
			b.Setenv("OTEL_METRICS_EXPORTER", "none")
			otel.SetTracerProvider(tracenoop.NewTracerProvider())
			tel, err := telemetry.Setup(b.Context(), "1")
			require.NoError(b, err)
			defer tel.Shutdown()
			m := tel.Calls.Method("theater.v1.X", "Y")
			b.ReportAllocs()
			for b.Loop() {
				_, call := m.Start(b.Context(), "", "")
				call.End(0, false, "")
			}
		})
	}
}
