package generations

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/aitheater/theater/internal/theatertest"
)

func TestMetricsCountWhatWasNotBelieved(t *testing.T) {
	before := otel.GetMeterProvider()
	reader := sdk.NewManualReader()
	otel.SetMeterProvider(sdk.NewMeterProvider(sdk.WithReader(reader)))
	t.Cleanup(func() { otel.SetMeterProvider(before) })
	x := newTheater(t, theatertest.SQLite(t))
	addr := theatertest.Redis(t)
	leader, other := x.stopped(addr), x.stopped(addr)
	x.publish(leader, chart("hot", "US", "a"))
	client := theatertest.RedisClient(addr)
	defer client.Close()
	require.Nil(t, other.At(t.Context(), "charts/hot", "US", 99))
	poison(t, client, leader, func(key string) error { return client.Set(t.Context(), key, "foreign", 0).Err() })
	require.Nil(t, other.At(t.Context(), "charts/hot", "US", 1))
	other.poll(t.Context())

	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &all))
	got := map[string]float64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					got[m.Name] += float64(p.Value)
				}
			case metricdata.Gauge[float64]:
				got[m.Name] = data.DataPoints[0].Value
			}
		}
	}
	assert.InDelta(t, 1, got["theater.generations.published"], 0)
	assert.InDelta(t, 2+1, got["theater.generations.misses"], 0, "of US and of the world, and the world's again")
	assert.InDelta(t, 2, got["theater.generations.bad_blobs"], 0, "the list and the index")
	assert.Contains(t, got, "theater.generations.age")
	assert.Less(t, got["theater.generations.age"], time.Minute.Seconds())
}
