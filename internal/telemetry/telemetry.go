package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/contrib/bridges/otelslog"
	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/contrib/instrumentation/runtime"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/propagation"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// scope is the instrumentation scope of all our spans and metrics.
const scope = "github.com/aitheater/theater"

// shutdownLimit is what a dead collector may cost at the end: two seconds, less what the rest of
// an orderly stop takes.
const shutdownLimit = 1500 * time.Millisecond

// Telemetry is what was set up.
type Telemetry struct {
	// Log writes to stderr with trace ids, and to the OTLP exporter when one is set.
	Log *slog.Logger
	// Metrics serves all metrics in the Prometheus format, whatever OTEL_* says.
	Metrics http.Handler
	// Calls instruments the serving of calls.
	Calls *Calls

	shutdowns []func(context.Context) error
	// spans and records are where traces and logs leave; nil where they do not.
	spans, records *outlet
}

// Setup installs the providers. version is the build's. Traces, metrics and logs leave the
// process only where OTEL_TRACES_EXPORTER, OTEL_METRICS_EXPORTER, OTEL_LOGS_EXPORTER or an
// OTEL_EXPORTER_OTLP_*ENDPOINT asks for it.
func Setup(ctx context.Context, version string) (*Telemetry, error) {
	t := &Telemetry{Calls: NewCalls()}
	res, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "theater"), attribute.String("service.version", version)),
		resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, err
	}
	steps := []func(context.Context, *resource.Resource) error{t.logs, t.traces, t.metrics}
	for _, step := range steps {
		if err := step(ctx, res); err != nil {
			t.Shutdown()
			return nil, err
		}
	}
	otel.SetTextMapPropagator(propagation.TraceContext{})
	otel.SetErrorHandler(&complaints{log: t.Log})
	return t, nil
}

// asked reports whether the environment asks for a signal ("TRACES", "METRICS", "LOGS") to
// be exported. Without this the exporter library would take localhost for the collector.
func asked(signal string) bool {
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") {
		return false
	}
	if e := os.Getenv("OTEL_" + signal + "_EXPORTER"); e != "" {
		return e != "none"
	}
	return os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || os.Getenv("OTEL_EXPORTER_OTLP_"+signal+"_ENDPOINT") != ""
}

func (t *Telemetry) logs(ctx context.Context, res *resource.Resource) error {
	var handler slog.Handler = traced{slog.NewJSONHandler(os.Stderr, nil)}
	if asked("LOGS") {
		exporter, err := autoexport.NewLogExporter(ctx)
		if err != nil {
			return err
		}
		t.records = newOutlet()
		batches := sdklog.NewBatchProcessor(logExporter{exporter, t.records})
		provider := sdklog.NewLoggerProvider(sdklog.WithResource(res), sdklog.WithProcessor(batches))
		t.shutdowns = append(t.shutdowns, provider.Shutdown)
		handler = slog.NewMultiHandler(handler, otelslog.NewHandler(scope, otelslog.WithLoggerProvider(provider)))
	}
	t.Log = slog.New(handler)
	return nil
}

func (t *Telemetry) traces(ctx context.Context, res *resource.Resource) error {
	if !asked("TRACES") {
		return nil
	}
	exporter, err := autoexport.NewSpanExporter(ctx)
	if err != nil {
		return err
	}
	// The sampler and the batch sizes come from OTEL_TRACES_SAMPLER and OTEL_BSP_*.
	t.spans = newOutlet()
	batches := sdktrace.NewBatchSpanProcessor(spanExporter{exporter, t.spans})
	options := []sdktrace.TracerProviderOption{sdktrace.WithResource(res), sdktrace.WithSpanProcessor(spanProcessor{batches, t.spans})}
	t.Calls.ratio = -1
	if ratio, ok := ratioOfEnv(); ok {
		t.Calls.ratio = ratio
		options = append(options, sdktrace.WithSampler(sdktrace.ParentBased(drawing{sdktrace.TraceIDRatioBased(ratio)})))
	}
	provider := sdktrace.NewTracerProvider(options...)
	t.shutdowns = append(t.shutdowns, provider.Shutdown)
	otel.SetTracerProvider(provider)
	return nil
}

// ratioOfEnv gives the ratio of the sampler that most services run with.
func ratioOfEnv() (float64, bool) {
	if !strings.EqualFold(strings.TrimSpace(os.Getenv("OTEL_TRACES_SAMPLER")), "parentbased_traceidratio") {
		return 0, false
	}
	ratio, err := strconv.ParseFloat(strings.TrimSpace(os.Getenv("OTEL_TRACES_SAMPLER_ARG")), 64)
	return ratio, err == nil && ratio >= 0 && ratio <= 1
}

func (t *Telemetry) metrics(ctx context.Context, res *resource.Resource) error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	t.Metrics = promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry})
	pull, err := otelprom.New(otelprom.WithRegisterer(registry), otelprom.WithProducer(t.Calls))
	if err != nil {
		return err
	}
	options := []sdkmetric.Option{sdkmetric.WithResource(res), sdkmetric.WithReader(pull)}
	if asked("METRICS") {
		autoexport.WithFallbackMetricProducer(func(context.Context) (sdkmetric.Producer, error) { return t.Calls, nil })
		push, err := autoexport.NewMetricReader(ctx)
		if err != nil {
			return err
		}
		options = append(options, sdkmetric.WithReader(push))
	}
	provider := sdkmetric.NewMeterProvider(options...)
	t.shutdowns = append(t.shutdowns, provider.Shutdown)
	otel.SetMeterProvider(provider)
	if err := t.observe(); err != nil {
		return err
	}
	return runtime.Start(runtime.WithMeterProvider(provider))
}

// Shutdown flushes all providers in parallel, for 2 s at the most.
func (t *Telemetry) Shutdown() {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownLimit)
	defer cancel()
	var all sync.WaitGroup
	for _, shutdown := range t.shutdowns {
		all.Go(func() {
			if err := shutdown(ctx); err != nil {
				t.Log.Warn("telemetry was not flushed", "error", err)
			}
		})
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	// An exporter that ignores its context must not keep the process.
	select {
	case <-done:
	case <-time.After(shutdownLimit + 100*time.Millisecond):
	}
}

// Start begins a span named after the room's verb, for example "rank.fold".
func Start(ctx context.Context, name string, attributes ...attribute.KeyValue) (context.Context, trace.Span) {
	return otel.Tracer(scope).Start(ctx, name, trace.WithAttributes(attributes...))
}
