package telemetry

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// statusCodes is how many status codes gRPC has.
const statusCodes = 17

// bounds are the upper bounds of the buckets, in nanoseconds.
var bounds = [...]time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// durations is a histogram by method and code, kept in plain atomic counters: the
// instruments of the SDK cost several times as much with each call. It is a metric.Producer,
// so every reader exports it beside what the instruments measure.
type durations struct {
	since   time.Time
	mu      sync.Mutex
	methods []*duration
}

type duration struct {
	attributes []attribute.KeyValue
	byCode     [statusCodes]atomic.Pointer[buckets]
}

type buckets struct {
	counts [len(bounds) + 1]atomic.Uint64
	sum    atomic.Int64 // nanoseconds
}

func (d *durations) add(attributes []attribute.KeyValue) *duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := &duration{attributes: attributes}
	d.methods = append(d.methods, m)
	return m
}

func (m *duration) record(code uint32, took time.Duration) {
	b := m.byCode[min(code, statusCodes-1)].Load()
	if b == nil {
		m.byCode[min(code, statusCodes-1)].CompareAndSwap(nil, new(buckets))
		b = m.byCode[min(code, statusCodes-1)].Load()
	}
	i := 0
	for i < len(bounds) && took > bounds[i] {
		i++
	}
	b.counts[i].Add(1)
	b.sum.Add(int64(took))
}

// Produce implements metric.Producer.
func (d *durations) Produce(context.Context) ([]metricdata.ScopeMetrics, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	limits := make([]float64, len(bounds))
	for i, b := range bounds {
		limits[i] = b.Seconds()
	}
	var points []metricdata.HistogramDataPoint[float64]
	for _, m := range d.methods {
		for code := range m.byCode {
			b := m.byCode[code].Load()
			if b == nil {
				continue
			}
			p := metricdata.HistogramDataPoint[float64]{
				Attributes: attribute.NewSet(append(m.attributes[:len(m.attributes):len(m.attributes)], attribute.Int("rpc.grpc.status_code", code))...),
				StartTime:  d.since, Time: now, Bounds: limits, BucketCounts: make([]uint64, len(b.counts)),
				Sum: time.Duration(b.sum.Load()).Seconds(),
			}
			for i := range b.counts {
				p.BucketCounts[i] = b.counts[i].Load()
				p.Count += p.BucketCounts[i]
			}
			points = append(points, p)
		}
	}
	if len(points) == 0 {
		return nil, nil
	}
	return []metricdata.ScopeMetrics{{
		Scope: instrumentation.Scope{Name: scope},
		Metrics: []metricdata.Metrics{{
			Name: "rpc.server.call.duration", Unit: "s", Description: "Time from the call's arrival to its end.",
			Data: metricdata.Histogram[float64]{Temporality: metricdata.CumulativeTemporality, DataPoints: points},
		}},
	}}, nil
}
