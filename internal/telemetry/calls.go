package telemetry

import (
	"context"
	"math/rand/v2"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Calls instruments the serving of calls: a span where the trace is sampled, and always the
// duration by method and status code. Names follow the semantic conventions for RPC.
type Calls struct {
	durations
	// ratio is the part of the calls without a parent that is traced, where the sampler is
	// known to be that simple; below 0, the sampler must be asked.
	ratio float64
}

// NewCalls instruments durations only. Setup makes one that traces too.
func NewCalls() *Calls { return &Calls{durations: durations{since: time.Now()}} }

// Method is one RPC method.
type Method struct {
	calls    *Calls
	name     string
	start    []trace.SpanStartOption
	duration *duration
}

// Method instruments "theater.v1.CatalogService", "CreateFilm".
func (c *Calls) Method(service, method string) *Method {
	common := []attribute.KeyValue{
		attribute.String("rpc.system", "grpc"), attribute.String("rpc.service", service), attribute.String("rpc.method", method),
	}
	return &Method{
		calls:    c,
		name:     service + "/" + method,
		start:    []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(common...)},
		duration: c.add(common),
	}
}

// Call is one call being served.
type Call struct {
	m     *Method
	span  trace.Span // nil where nothing is recorded
	id    trace.TraceID
	begin time.Time
	lot   lot
}

// lot says whether a call was drawn for the traces of Calls.ratio.
type lot int8

const (
	notAsked lot = iota
	drawn
	notDrawn
)

type lotKey struct{}

// Value answers for the call's context, nil where it knows nothing: a call that was not
// drawn must not begin a trace further inside, and the lot is a field, because a context for
// it would cost each of those calls an allocation.
func (c *Call) Value(key any) any {
	if _, ok := key.(lotKey); !ok || c.lot == notAsked {
		return nil
	}
	return c.lot
}

// Start begins a call; what the context does not know, Call.Value does. parent and state are
// the traceparent and tracestate headers, empty where absent; a sampled parent is recorded as
// the sampler of OTEL_TRACES_SAMPLER says.
func (m *Method) Start(ctx context.Context, parent, state string) (context.Context, Call) {
	c := Call{m: m, begin: time.Now()}
	if parent != "" {
		ctx = propagation.TraceContext{}.Extract(ctx, headers{parent, state})
		c.id = trace.SpanContextFromContext(ctx).TraceID()
	}
	switch {
	case m.calls.ratio == 0 && !c.id.IsValid():
		return ctx, c
	case m.calls.ratio >= 0 && !c.id.IsValid():
		if rand.Float64() >= m.calls.ratio {
			c.lot = notDrawn
			return ctx, c
		}
		c.lot = drawn
		ctx = context.WithValue(ctx, lotKey{}, drawn)
	}
	ctx, span := otel.Tracer(scope).Start(ctx, m.name, m.start...)
	if span.IsRecording() {
		c.span, c.id = span, span.SpanContext().TraceID()
	}
	return ctx, c
}

// Refused counts a call that was refused with a gRPC status code before anything was made
// for it.
func (m *Method) Refused(code uint32) { m.duration.record(code, 0) }

// TraceID is the call's trace id in hex if the trace is recorded or the client named one,
// else empty.
func (c *Call) TraceID() string {
	if c.id.IsValid() {
		return c.id.String()
	}
	return ""
}

// Recorded reports whether a span of the call will be exported.
func (c *Call) Recorded() bool { return c.span != nil }

// End ends the call with a gRPC status code; fault says that the server, not the client, is
// to blame, and message is what the client was told.
func (c *Call) End(code uint32, fault bool, message string) {
	c.m.duration.record(code, time.Since(c.begin))
	if c.span == nil {
		return
	}
	c.span.SetAttributes(attribute.Int("rpc.grpc.status_code", int(code)))
	if fault {
		c.span.SetStatus(otelcodes.Error, message)
	}
	c.span.End()
}

// lotOf gives the lot of the call that ctx belongs to.
func lotOf(ctx context.Context) lot {
	l, _ := ctx.Value(lotKey{}).(lot)
	return l
}

// drawing samples what Start has drawn, and traces without a call (a fold, a poll) by ratio.
// It stands for the SDK's own ratio sampler, which makes and hashes ids first: that costs
// each of the calls that are not sampled more than everything else here.
type drawing struct{ sdktrace.Sampler }

func (d drawing) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	state := trace.SpanContextFromContext(p.ParentContext).TraceState()
	switch lotOf(p.ParentContext) {
	case drawn:
		return sdktrace.SamplingResult{Decision: sdktrace.RecordAndSample, Tracestate: state}
	case notDrawn:
		return sdktrace.SamplingResult{Decision: sdktrace.Drop, Tracestate: state}
	}
	return d.Sampler.ShouldSample(p)
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
