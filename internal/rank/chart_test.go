package rank

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"pgregory.net/rapid"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/ledger"
	"github.com/aitheater/theater/internal/theatertest"
)

func hotChart(edit func(*pb.Chart)) *pb.Chart {
	c := &pb.Chart{Kind: pb.Chart_HOT, HalfLife: durationpb.New(day), Weights: map[string]float64{"PLAY": 1}}
	edit(c)
	return c
}

func TestDefinitionsAreChecked(t *testing.T) {
	for path, edit := range map[string]func(*pb.Chart){
		"chart.half_life":          func(c *pb.Chart) { c.HalfLife = &durationpb.Duration{} },
		"chart.half_life: is req":  func(c *pb.Chart) { c.HalfLife = nil },
		"chart.half_life: must be": func(c *pb.Chart) { c.HalfLife = durationpb.New(401 * day) },
		"chart.window":             func(c *pb.Chart) { c.Kind, c.Window = pb.Chart_MOST_WATCHED, durationpb.New(401*day) },
		"chart.window: is req":     func(c *pb.Chart) { c.Kind = pb.Chart_MOST_WATCHED },
		"chart.long_half_life":     func(c *pb.Chart) { c.Kind, c.LongHalfLife = pb.Chart_RISING, durationpb.New(day) },
		"chart.weights[\"PLAY\"]":  func(c *pb.Chart) { c.Weights["PLAY"] = math.NaN() },
		"chart.weights[\"LIKE\"]":  func(c *pb.Chart) { c.Weights["LIKE"] = -1 },
		"chart.weights[\"play\"]":  func(c *pb.Chart) { c.Weights["play"] = 1 },
		"chart.weights: at least":  func(c *pb.Chart) { c.Weights["PLAY"] = 0 },
		"chart.kind":               func(c *pb.Chart) { c.Kind = 0 },
		"chart.min_votes":          func(c *pb.Chart) { c.Kind, c.MinVotes = pb.Chart_NEW, 1 },
		"chart.title[\"en\"]":      func(c *pb.Chart) { c.Title = map[string]string{"en": " "} },
		"chart.z":                  func(c *pb.Chart) { c.Kind, c.Z = pb.Chart_WILSON, math.Inf(1) },
		"chart.prior_weight":       func(c *pb.Chart) { c.Kind, c.PriorWeight = pb.Chart_TOP_RATED, 1e300 },
	} {
		e := fault.As(validate(hotChart(edit), "chart"))
		require.NotNil(t, e, path)
		assert.Equal(t, fault.InvalidArgument, e.Kind)
		assert.Contains(t, e.Message, path)
	}
	for _, edit := range []func(*pb.Chart){
		func(*pb.Chart) {},
		func(c *pb.Chart) { c.HalfLife = durationpb.New(400 * day) },
		func(c *pb.Chart) { *c = pb.Chart{Kind: pb.Chart_TOP_RATED, Window: durationpb.New(1000 * day)} },
		func(c *pb.Chart) { *c = pb.Chart{Kind: pb.Chart_WILSON, HalfLife: durationpb.New(1000 * day)} },
	} {
		require.NoError(t, validate(hotChart(edit), "chart"))
	}
	for _, c := range builtIn() {
		require.NoError(t, validate(c, "chart"))
		assert.Equal(t, pb.Film_FEATURE, c.MinForm)
	}
}

func TestRevisionIsOfWhatDecidesTheOrder(t *testing.T) {
	plain := hotChart(func(*pb.Chart) {})
	assert.Equal(t, revisionID(plain), revisionID(hotChart(func(c *pb.Chart) { c.Title, c.Weights["LIKE"] = map[string]string{"en": "x"}, 0 })))
	assert.NotEqual(t, revisionID(plain), revisionID(hotChart(func(c *pb.Chart) { c.Weights["LIKE"] = 2 })))
	assert.NotEqual(t, revisionID(plain), revisionID(hotChart(func(c *pb.Chart) { c.MinVotes = 2 })))
}

func TestChartsAreVersionedData(t *testing.T) {
	ctx := context.Background()
	h := open(t, theatertest.SQLite(t), theatertest.Redis(t))
	c, err := h.CreateChart(ctx, &pb.CreateChartRequest{ChartId: "mine", Chart: hotChart(func(*pb.Chart) {})})
	require.NoError(t, err)
	assert.Equal(t, "charts/mine", c.Name)
	assert.NotZero(t, c.Revision)
	_, err = h.CreateChart(ctx, &pb.CreateChartRequest{ChartId: "mine", Chart: hotChart(func(*pb.Chart) {})})
	assert.True(t, fault.Is(err, pb.ErrorReason_ALREADY_EXISTS))
	got, err := h.GetChart(ctx, &pb.GetChartRequest{Name: "charts/mine"})
	require.NoError(t, err)
	assert.True(t, proto.Equal(c, got))

	changed, err := h.UpdateChart(ctx, &pb.UpdateChartRequest{Chart: &pb.Chart{Name: "charts/hot", MinVotes: 3}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"min_votes"}}})
	require.NoError(t, err, "a built-in chart becomes a stored one")
	assert.NotEqual(t, h.Charts()[0].RevisionId, changed.RevisionId)
	assert.Equal(t, day, changed.HalfLife.AsDuration())
	_, err = h.UpdateChart(ctx, &pb.UpdateChartRequest{Chart: &pb.Chart{Name: "charts/hot", Etag: "old"}})
	assert.True(t, fault.Is(err, pb.ErrorReason_ETAG_MISMATCH))
	_, err = h.UpdateChart(ctx, &pb.UpdateChartRequest{Chart: &pb.Chart{Name: "charts/none"}})
	assert.True(t, fault.Is(err, pb.ErrorReason_RESOURCE_NOT_FOUND))

	first, err := h.ListCharts(ctx, &pb.ListChartsRequest{PageSize: 4})
	require.NoError(t, err)
	second, err := h.ListCharts(ctx, &pb.ListChartsRequest{PageSize: 4, PageToken: first.NextPageToken})
	require.NoError(t, err)
	assert.Len(t, append(first.Charts, second.Charts...), 6)
	assert.Empty(t, second.NextPageToken)
	_, err = h.ListCharts(ctx, &pb.ListChartsRequest{PageToken: "x"})
	assert.True(t, fault.Is(err, pb.ErrorReason_INVALID_PAGE_TOKEN))
}

func TestChartsAreForEditorsOfAllMarkets(t *testing.T) {
	h := open(t, theatertest.SQLite(t), theatertest.Redis(t))
	for name, c := range map[string]struct {
		caller auth.Caller
		may    bool
	}{
		"an editor":              {auth.Caller{Roles: 1 << pb.Access_EDITOR}, true},
		"an editor of a market":  {auth.Caller{Roles: 1 << pb.Access_EDITOR, Markets: []string{"SG"}}, false},
		"an admin with a market": {auth.Caller{Roles: 1 << pb.Access_ADMIN, Markets: []string{"SG"}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := auth.WithCaller(context.Background(), &c.caller)
			_, created := h.CreateChart(ctx, &pb.CreateChartRequest{ChartId: strings.ReplaceAll(name, " ", "-"), Chart: hotChart(func(*pb.Chart) {})})
			_, updated := h.UpdateChart(ctx, &pb.UpdateChartRequest{Chart: &pb.Chart{Name: "charts/hot", MinVotes: 3}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"min_votes"}}})
			_, none := h.UpdateChart(ctx, &pb.UpdateChartRequest{Chart: &pb.Chart{Name: "charts/none"}})
			for _, err := range []error{created, updated} {
				assert.Equal(t, c.may, err == nil, "%v", err)
			}
			assert.Equal(t, !c.may, fault.Is(none, pb.ErrorReason_PERMISSION_DENIED), "permission comes before existence")
		})
	}
}

func TestFormulas(t *testing.T) {
	assert.InDelta(t, (9+25*3.5)/(2+25), bayes(9, 2, 25, 3.5), 1e-15)
	p, n, z := 0.7, 10.0, 1.96
	assert.InDelta(t, (p+z*z/(2*n)-z*math.Sqrt(p*(1-p)/n+z*z/(4*n*n)))/(1+z*z/n), wilson(7, n, z), 1e-15)
	assert.Zero(t, wilson(0, 5, 1.96))
	assert.Equal(t, 0.125, decay(3*int64(day), int64(day)).float())
}

// Scores keep their order where doubles have none left.
func TestTwentyYearsKeepTheirOrder(t *testing.T) {
	week := (7 * day).Microseconds()
	old := time.Date(1996, 10, 17, 0, 0, 0, 0, time.UTC).UnixMicro()
	now := time.Date(2026, 10, 17, 0, 0, 0, 0, time.UTC).UnixMicro()
	one := forward(old, week, 1)
	two := one.plus(forward(old+1, week, 1))
	require.Positive(t, compare(two.at(now, week), one.at(now, week)))
	assert.Zero(t, one.at(now, week).float(), "below the smallest double")
	late := two.plus(forward(now, week, 1))
	assert.Equal(t, 1.0, late.at(now, week).float())
}

func TestComparisonIsByTwelveDigits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.Float64Range(1e-12, 1e12).Draw(t, "x")
		off := rapid.SampledFrom([]float64{0, 1e-15, 1e-13, 4e-12, 1e-11, 1e-9, 0.5}).Draw(t, "off")
		y := x * (1 + off)
		require.Equal(t, sign(digits(y)-digits(x)), compare(scoreOf(y), scoreOf(x)))
		require.Equal(t, sign(digits(x)-digits(y)), compare(scoreOf(x), scoreOf(y)))
	})
}

// ExplainRank's components give the score, and few children's counts stay out.
func TestExplanationGivesTheScore(t *testing.T) {
	ctx := context.Background()
	h := open(t, theatertest.SQLite(t), theatertest.Redis(t))
	h.put(film("a"), film("b"))
	now := time.Now()
	events := []ledger.Event{
		event("a", "v", "US", pb.Event_LIKE, 0, now.Add(-time.Hour)), event("a", "v", "US", pb.Event_SHARE, 0, now.Add(-30*time.Hour)),
		event("a", "child", "US", pb.Event_LIKE, 0, now.Add(-time.Hour)), event("b", "w", "US", pb.Event_LIKE, 0, now.Add(-time.Hour)),
	}
	events[2].Audience = pb.Viewer_KIDS
	h.record(events...)
	stop := h.run()
	require.Eventually(t, func() bool { l := h.gens.Latest("charts/hot", "US"); return l != nil && len(l.Entries) == 2 }, 30*time.Second, 10*time.Millisecond)
	require.Eventually(t, func() bool { return h.stats("films/a").GetLikes() == 1 }, 30*time.Second, 10*time.Millisecond, "the adult's like, not the one child's")
	stop()
	h.record(event("a", "late", "US", pb.Event_LIKE, 0, now.Add(-2*time.Hour))) // the list's own numbers are explained, whatever came since
	answer, err := h.ExplainRank(ctx, &pb.ExplainRankRequest{Chart: "charts/hot", Market: "US", Film: "films/a"})
	require.NoError(t, err)
	require.Equal(t, int32(1), answer.Rank)
	var sum float64
	for _, c := range answer.Components {
		sum += c.Value
		assert.Equal(t, int64(1), c.Count, "%s: without the one child's", c.Name)
	}
	assert.InDelta(t, answer.Score, sum, 1e-9)
	_, err = h.ExplainRank(ctx, &pb.ExplainRankRequest{Chart: "charts/hot", Market: "US", Film: "films/none"})
	assert.True(t, fault.Is(err, pb.ErrorReason_FILM_NOT_FOUND))
}
