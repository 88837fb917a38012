package telemetry

import (
	"context"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

const (
	// spanQueue is how many spans wait to be exported where OTEL_BSP_MAX_QUEUE_SIZE does not
	// say it.
	spanQueue = 2048
	// unanswered is how long an export may go without an answer before the collector counts
	// as away; the exporters themselves try for up to 30 s.
	unanswered = 5 * time.Second
)

// outlet is where one signal leaves the process. It knows whether the collector takes it,
// and what was lost, which the SDK keeps to itself.
type outlet struct {
	exported, failed, dropped atomic.Int64
	// pending are the spans between their end and their export, most their limit.
	pending atomic.Int64
	most    int64
	// took and refused are when the collector last took an export and when it did not, since
	// when the present one runs, 0 = none; in nanoseconds since 1970.
	took, refused, since atomic.Int64
}

func newOutlet() *outlet {
	o := &outlet{most: spanQueue}
	if n, err := strconv.ParseInt(os.Getenv("OTEL_BSP_MAX_QUEUE_SIZE"), 10, 32); err == nil && n > 0 {
		o.most = n
	}
	return o
}

// export notes what becomes of n items.
func (o *outlet) export(n int, send func() error) error {
	o.since.Store(time.Now().UnixNano())
	err := send()
	o.since.Store(0)
	if err != nil {
		o.refused.Store(time.Now().UnixNano())
		o.failed.Add(int64(n))
		return err
	}
	o.took.Store(time.Now().UnixNano())
	o.exported.Add(int64(n))
	return nil
}

// spanExporter is an exporter of spans that is watched.
type spanExporter struct {
	sdktrace.SpanExporter
	outlet *outlet
}

func (e spanExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	defer e.outlet.pending.Add(-int64(len(spans)))
	return e.outlet.export(len(spans), func() error { return e.SpanExporter.ExportSpans(ctx, spans) })
}

// spanProcessor counts the spans that a full queue drops. It stands before the SDK's
// batching processor and lets no more in than that one's queue holds.
type spanProcessor struct {
	sdktrace.SpanProcessor
	outlet *outlet
}

func (p spanProcessor) OnEnd(s sdktrace.ReadOnlySpan) {
	if !s.SpanContext().IsSampled() {
		return
	}
	if p.outlet.pending.Add(1) > p.outlet.most {
		p.outlet.pending.Add(-1)
		p.outlet.dropped.Add(1)
		return
	}
	p.SpanProcessor.OnEnd(s)
}

// logExporter is an exporter of log records that is watched.
type logExporter struct {
	sdklog.Exporter
	outlet *outlet
}

func (e logExporter) Export(ctx context.Context, records []sdklog.Record) error {
	return e.outlet.export(len(records), func() error { return e.Exporter.Export(ctx, records) })
}

// Collector reports whether traces or logs are sent to a collector, and whether it took what
// was last sent.
func (t *Telemetry) Collector() (sent, healthy bool) {
	var took, refused int64
	stuck := false
	for _, o := range []*outlet{t.spans, t.records} {
		if o != nil {
			sent = true
			took, refused = max(took, o.took.Load()), max(refused, o.refused.Load())
			since := o.since.Load()
			stuck = stuck || since != 0 && time.Since(time.Unix(0, since)) > unanswered
		}
	}
	return sent, took >= refused && !stuck
}

// observe exports what becomes of spans and log records.
func (t *Telemetry) observe() error {
	set := func(signal, outcome string) metric.MeasurementOption {
		return metric.WithAttributeSet(attribute.NewSet(attribute.String("signal", signal), attribute.String("outcome", outcome)))
	}
	_, err := otel.Meter(scope).Int64ObservableCounter("theater.telemetry.items",
		metric.WithDescription("Spans and log records by what became of them: exported, failed (the collector did not take them), dropped (the queue was full)."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			if t.spans != nil {
				o.Observe(t.spans.exported.Load(), set("traces", "exported"))
				o.Observe(t.spans.failed.Load(), set("traces", "failed"))
				o.Observe(t.spans.dropped.Load(), set("traces", "dropped"))
			}
			if t.records != nil {
				o.Observe(t.records.exported.Load(), set("logs", "exported"))
				o.Observe(t.records.failed.Load(), set("logs", "failed"))
			}
			return nil
		}))
	return err
}
