package app

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/aitheater/theater/internal/telemetry"
)

// measure publishes how this replica and what it depends on are doing; the result ends it.
func (a *App) measure(tel *telemetry.Telemetry) (func() error, error) {
	meter := otel.Meter("github.com/aitheater/theater")
	var errs [6]error
	gauge := func(i int, name, description string) metric.Int64ObservableGauge {
		g, err := meter.Int64ObservableGauge(name, metric.WithDescription(description))
		errs[i] = err
		return g
	}
	ready := gauge(0, "theater.ready", "1 while this replica answers viewers.")
	applied := gauge(1, "theater.changes.applied", "Newest revision this replica shows.")
	head := gauge(2, "theater.changes.head", "Newest revision this replica knows of.")
	healthy := gauge(3, "theater.dependency.healthy", "1 while a dependency answers.")
	leading := gauge(4, "theater.rank.leading", "1 while this replica computes the charts.")
	behind := gauge(5, "theater.rank.behind", "Events the charts do not count yet; 0 where this replica does not lead.")
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	dependency := func(name string) metric.MeasurementOption {
		return metric.WithAttributeSet(attribute.NewSet(attribute.String("dependency", name)))
	}
	sql, redis, provider, collector := dependency("sql"), dependency("redis"), dependency("identity_provider"), dependency("collector")
	registration, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		status := a.log.Status()
		o.ObserveInt64(ready, number(a.Ready()))
		o.ObserveInt64(applied, status.Applied)
		o.ObserveInt64(head, status.Head)
		o.ObserveInt64(healthy, number(status.Degraded == ""), sql)
		o.ObserveInt64(healthy, number(a.redisLack(status) == ""), redis)
		if a.provider != nil {
			o.ObserveInt64(healthy, number(a.provider.Healthy()), provider)
		}
		if sent, ok := tel.Collector(); sent {
			o.ObserveInt64(healthy, number(ok), collector)
		}
		leads, waiting := a.rank.Progress()
		o.ObserveInt64(leading, number(leads))
		o.ObserveInt64(behind, waiting)
		return nil
	}, ready, applied, head, healthy, leading, behind)
	if err != nil {
		return nil, err
	}
	return registration.Unregister, nil
}

func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
