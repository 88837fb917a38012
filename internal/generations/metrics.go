package generations

import (
	"context"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

var (
	fromRedis = metric.WithAttributes(attribute.String("source", "redis"))
	fromSQL   = metric.WithAttributes(attribute.String("source", "sql"))
)

func kindAttribute(key id) metric.AddOption {
	if key.isStats() {
		return metric.WithAttributes(attribute.String("kind", "stats"))
	}
	return metric.WithAttributes(attribute.String("kind", "list"))
}

type metrics struct {
	published, misses, bad, dropped metric.Int64Counter
}

// newMetrics registers the instruments; without a provider they do nothing.
func newMetrics(s *Store) *metrics {
	meter := otel.Meter("github.com/aitheater/theater/generations")
	counter := func(name, description string) metric.Int64Counter {
		c, err := meter.Int64Counter(name, metric.WithDescription(description))
		if err != nil {
			otel.Handle(err)
		}
		return c
	}
	m := &metrics{
		published: counter("theater.generations.published", "Lists and shards of counts published by this process."),
		misses:    counter("theater.generations.misses", "Blobs that Redis did not have."),
		bad:       counter("theater.generations.bad_blobs", "Blobs of a wrong type, truncated, altered or foreign."),
		dropped:   counter("theater.generations.dropped", "Lists dropped before their time because memory ran out."),
	}
	age, err := meter.Float64ObservableGauge("theater.generations.age", metric.WithUnit("s"),
		metric.WithDescription("Time since the newest list was computed."))
	if err != nil {
		otel.Handle(err)
	}
	kept, err := meter.Int64ObservableGauge("theater.generations.kept_bytes", metric.WithUnit("By"),
		metric.WithDescription("Estimated memory of all lists kept."))
	if err != nil {
		otel.Handle(err)
	}
	_, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		var newest time.Time
		for _, l := range *s.latest.Load() {
			if l.ComputeTime.After(newest) {
				newest = l.ComputeTime
			}
		}
		if !newest.IsZero() {
			o.ObserveFloat64(age, time.Since(newest).Seconds())
		}
		s.mu.RLock()
		o.ObserveInt64(kept, int64(s.keptBytes))
		s.mu.RUnlock()
		return nil
	}, age, kept)
	if err != nil {
		otel.Handle(err)
	}
	return m
}
