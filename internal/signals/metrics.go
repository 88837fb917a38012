package signals

import (
	"context"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

type metrics struct {
	accepted, rejected metric.Int64Counter
	batch              metric.Int64Histogram
	latency            metric.Float64Histogram
	failed             metric.Int64Counter
	// head is the last number this process was given.
	head atomic.Int64
}

// newMetrics registers the instruments; without a provider they do nothing.
func newMetrics() *metrics {
	meter := otel.Meter("github.com/aitheater/theater/signals")
	m := &metrics{}
	var errs [5]error
	m.accepted, errs[0] = meter.Int64Counter("theater.signals.accepted", metric.WithDescription("Events stored."))
	m.rejected, errs[1] = meter.Int64Counter("theater.signals.rejected", metric.WithDescription("Events refused, by field."))
	m.batch, errs[2] = meter.Int64Histogram("theater.signals.batch_size", metric.WithDescription("Events in a transaction."),
		metric.WithExplicitBucketBoundaries(1, 3, 10, 30, 100, 300, 1000, 2000))
	m.latency, errs[3] = meter.Float64Histogram("theater.signals.commit_duration", metric.WithUnit("s"), metric.WithDescription("Time of a transaction."),
		metric.WithExplicitBucketBoundaries(.001, .003, .01, .03, .1, .3, 1, 3, 10))
	m.failed, errs[4] = meter.Int64Counter("theater.signals.commit_failures", metric.WithDescription("Transactions that failed."))
	for _, err := range errs {
		if err != nil {
			otel.Handle(err)
		}
	}
	return m
}

// watch observes what is current.
func (m *metrics) watch(depth func() int) {
	meter := otel.Meter("github.com/aitheater/theater/signals")
	queued, err := meter.Int64ObservableGauge("theater.signals.queued", metric.WithDescription("Events that wait for their transaction."))
	if err != nil {
		otel.Handle(err)
	}
	head, err := meter.Int64ObservableGauge("theater.ledger.head", metric.WithDescription("Last sequence number this process wrote."))
	if err != nil {
		otel.Handle(err)
	}
	_, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(queued, int64(depth()))
		o.ObserveInt64(head, m.head.Load())
		return nil
	}, queued, head)
	if err != nil {
		otel.Handle(err)
	}
}

func (m *metrics) committed(ctx context.Context, events int, took time.Duration, err error) {
	if err != nil {
		m.failed.Add(ctx, 1)
		return
	}
	m.accepted.Add(ctx, int64(events))
	m.batch.Record(ctx, int64(events))
	m.latency.Record(ctx, took.Seconds())
}

// refused counts by field only: a reason's text is for people.
func (m *metrics) refused(ctx context.Context, field string) {
	m.rejected.Add(ctx, 1, metric.WithAttributes(attribute.String("field", field)))
}
