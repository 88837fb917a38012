package theatertest

import (
	"compress/gzip"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	logscollector "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	metricscollector "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	tracecollector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Collector is an OTLP receiver over HTTP with protobuf that keeps what it is sent.
type Collector struct {
	// URL is for OTEL_EXPORTER_OTLP_ENDPOINT.
	URL string

	mu      sync.Mutex
	spans   []*trace.Span
	metrics map[string]bool
	logs    []*logs.LogRecord
}

// NewCollector starts a receiver, which ends with the test.
func NewCollector(t testing.TB) *Collector {
	c := &Collector{metrics: map[string]bool{}}
	mux := http.NewServeMux()
	mux.HandleFunc("/v1/traces", receive(t, func(r *tracecollector.ExportTraceServiceRequest) {
		for _, rs := range r.GetResourceSpans() {
			for _, ss := range rs.GetScopeSpans() {
				c.spans = append(c.spans, ss.GetSpans()...)
			}
		}
	}, &c.mu))
	mux.HandleFunc("/v1/metrics", receive(t, func(r *metricscollector.ExportMetricsServiceRequest) {
		for _, rm := range r.GetResourceMetrics() {
			for _, sm := range rm.GetScopeMetrics() {
				for _, m := range sm.GetMetrics() {
					c.metrics[m.GetName()] = true
				}
			}
		}
	}, &c.mu))
	mux.HandleFunc("/v1/logs", receive(t, func(r *logscollector.ExportLogsServiceRequest) {
		for _, rl := range r.GetResourceLogs() {
			for _, sl := range rl.GetScopeLogs() {
				c.logs = append(c.logs, sl.GetLogRecords()...)
			}
		}
	}, &c.mu))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	c.URL = server.URL
	return c
}

// receive decodes one kind of export.
func receive[M any, P interface {
	*M
	proto.Message
}](t testing.TB, keep func(P), mu *sync.Mutex) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			unpacked, err := gzip.NewReader(body)
			if err != nil {
				t.Errorf("export: %v", err)
				return
			}
			body = unpacked
		}
		b, err := io.ReadAll(body)
		if err != nil {
			return // the sender went away
		}
		m := P(new(M))
		if err := proto.Unmarshal(b, m); err != nil {
			t.Errorf("export: %v", err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		keep(m)
		w.Header().Set("Content-Type", "application/x-protobuf")
	}
}

// Env is the environment of a process that exports everything here, soon and unsampled.
func (c *Collector) Env() []string {
	return []string{
		"OTEL_EXPORTER_OTLP_ENDPOINT=" + c.URL, "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
		"OTEL_TRACES_SAMPLER=parentbased_always_on", "OTEL_BSP_SCHEDULE_DELAY=100", "OTEL_BLRP_SCHEDULE_DELAY=100",
		"OTEL_METRIC_EXPORT_INTERVAL=500",
	}
}

// Spans gives the spans of a trace that came so far; all of them for an empty id.
func (c *Collector) Spans(traceID string) (list []*trace.Span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.spans {
		if traceID == "" || hex.EncodeToString(s.GetTraceId()) == traceID {
			list = append(list, s)
		}
	}
	return list
}

// HasMetric reports whether a metric of this name came.
func (c *Collector) HasMetric(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.metrics[name]
}

// Logs gives the log records that came so far.
func (c *Collector) Logs() []*logs.LogRecord {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*logs.LogRecord(nil), c.logs...)
}
