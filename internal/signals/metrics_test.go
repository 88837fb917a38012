package signals

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/theatertest"
)

func TestMetricsSayWhatCameIn(t *testing.T) {
	before := otel.GetMeterProvider()
	reader := sdk.NewManualReader()
	otel.SetMeterProvider(sdk.NewMeterProvider(sdk.WithReader(reader)))
	t.Cleanup(func() { otel.SetMeterProvider(before) })
	r := start(t, open(t, theatertest.SQLite(t)))
	_, err := r.RecordEvents(asService(t), &pb.RecordEventsRequest{Events: []*pb.Event{
		recent("films/f1", "ann"), recent("films/f2", "ann"), recent("films/nope", "ann"),
	}})
	require.NoError(t, err)
	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &all))
	got := map[string]int64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					got[m.Name] += p.Value
				}
			case metricdata.Gauge[int64]:
				got[m.Name] = data.DataPoints[0].Value
			case metricdata.Histogram[int64]:
				got[m.Name] = data.DataPoints[0].Sum
			case metricdata.Histogram[float64]:
				got[m.Name] = int64(data.DataPoints[0].Count)
			}
		}
	}
	for name, want := range map[string]int64{
		"theater.signals.accepted": 2, "theater.signals.rejected": 1, "theater.signals.batch_size": 2, "theater.signals.commit_duration": 1,
		"theater.signals.queued": 0, "theater.ledger.head": 2,
	} {
		value, there := got[name]
		assert.True(t, there, name)
		assert.Equal(t, want, value, name)
	}
}
