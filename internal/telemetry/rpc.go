package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// statusCodes is how many status codes gRPC has.
const statusCodes = 17

// Method instruments the serving of one RPC method: a span where the trace is sampled, and
// always a duration by status code. Names follow the semantic conventions for RPC.
type Method struct {
	name     string
	tracer   trace.Tracer
	start    []trace.SpanStartOption
	duration metric.Float64Histogram
	byCode   [statusCodes][]metric.RecordOption
}

// NewMethod instruments "theater.v1.CatalogService", "CreateFilm". It is made after Setup.
func NewMethod(service, method string) (*Method, error) {
	common := []attribute.KeyValue{
		attribute.String("rpc.system", "grpc"), attribute.String("rpc.service", service), attribute.String("rpc.method", method),
	}
	duration, err := otel.Meter(scope).Float64Histogram("rpc.server.call.duration", metric.WithUnit("s"),
		metric.WithDescription("Time from the request's arrival to the reply's hand-over."),
		metric.WithExplicitBucketBoundaries(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10))
	if err != nil {
		return nil, err
	}
	m := &Method{
		name:     service + "/" + method,
		tracer:   otel.Tracer(scope),
		start:    []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(common...)},
		duration: duration,
	}
	for code := range m.byCode {
		// Sets are made once: making them is what costs in Record.
		set := attribute.NewSet(append(common[:len(common):len(common)], attribute.Int("rpc.grpc.status_code", code))...)
		m.byCode[code] = []metric.RecordOption{metric.WithAttributeSet(set)}
	}
	return m, nil
}

// Call is one call being served.
type Call struct {
	m     *Method
	span  trace.Span
	begin time.Time
}

// Start begins a call. parent and state are the traceparent and tracestate headers, empty
// where absent; a sampled parent is recorded as the sampler of OTEL_TRACES_SAMPLER says.
func (m *Method) Start(ctx context.Context, parent, state string) (context.Context, Call) {
	c := Call{m: m, begin: time.Now()}
	if parent != "" {
		ctx = propagation.TraceContext{}.Extract(ctx, headers{parent, state})
	}
	ctx, c.span = m.tracer.Start(ctx, m.name, m.start...)
	return ctx, c
}

// TraceID is the call's trace id in hex if the trace is recorded or the client named one,
// else empty.
func (c *Call) TraceID() string {
	if sc := c.span.SpanContext(); sc.HasTraceID() {
		return sc.TraceID().String()
	}
	return ""
}

// Recorded reports whether a span of the call will be exported.
func (c *Call) Recorded() bool { return c.span.SpanContext().IsSampled() }

// End ends the call with a gRPC status code; fault says that the server, not the client, is
// to blame, and message is what the client was told.
func (c *Call) End(ctx context.Context, code uint32, fault bool, message string) {
	code = min(code, statusCodes-1)
	c.m.duration.Record(ctx, time.Since(c.begin).Seconds(), c.m.byCode[code]...)
	if c.span.IsRecording() {
		c.span.SetAttributes(attribute.Int("rpc.grpc.status_code", int(code)))
		if fault {
			c.span.SetStatus(otelcodes.Error, message)
		}
	}
	c.span.End()
}

// headers is the carrier of the two headers of W3C trace context.
type headers struct{ parent, state string }

func (h headers) Get(key string) string {
	switch key {
	case "traceparent":
		return h.parent
	case "tracestate":
		return h.state
	}
	return ""
}
func (h headers) Set(string, string) {}
func (h headers) Keys() []string     { return []string{"traceparent", "tracestate"} }
