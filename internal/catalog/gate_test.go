package catalog

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/changes"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/generations"
	"github.com/aitheater/theater/internal/shelf"
	"github.com/aitheater/theater/internal/theatertest"
)

var (
	markets = []string{"GB", "SG", "US"}
	anyTime = rapid.Custom(func(t *rapid.T) *timestamppb.Timestamp {
		if n := rapid.IntRange(-6, 5).Draw(t, "day"); n > -6 {
			return timestamppb.New(noon.AddDate(0, 0, n))
		}
		return nil
	})
	anyWindow = rapid.Custom(func(t *rapid.T) *pb.Availability {
		return &pb.Availability{Markets: rapid.SliceOfNDistinct(rapid.SampledFrom(markets), 0, 3, rapid.ID).Draw(t, "markets"),
			AnnounceTime: anyTime.Draw(t, "announce"), StartTime: anyTime.Draw(t, "start"), EndTime: anyTime.Draw(t, "end")}
	}).Filter(func(w *pb.Availability) bool {
		c := &checker{}
		c.window("", w)
		return len(c.Broken) == 0
	})
	anyBand   = rapid.Map(rapid.Int32Range(0, 6), func(n int32) pb.Film_AgeBand { return pb.Film_AgeBand(n) })
	anyRating = rapid.Custom(func(t *rapid.T) *pb.Rating {
		return &pb.Rating{Market: rapid.SampledFrom(markets).Draw(t, "market"), System: rapid.SampledFrom([]string{"BBFC", "IMDA", "MPA", "?"}).Draw(t, "system"),
			Code: rapid.SampledFrom([]string{"U", "PG", "18", "G", "R", "12A"}).Draw(t, "code")}
	})
	// anyFilm is a film in any state, near the edges the gate looks at.
	anyFilm = rapid.Custom(func(t *rapid.T) *pb.Film {
		f := lantern()
		f.State = rapid.SampledFrom([]pb.Film_State{pb.Film_PUBLISHED, pb.Film_PUBLISHED, pb.Film_PUBLISHED, pb.Film_PUBLISHED, pb.Film_DRAFT, pb.Film_IN_REVIEW, pb.Film_TAKEN_DOWN}).Draw(t, "state")
		if rapid.IntRange(0, 9).Draw(t, "deleted") == 0 {
			f.DeleteTime = timestamppb.New(noon)
		}
		f.Availability = rapid.SliceOfN(anyWindow, 0, 3).Draw(t, "windows")
		f.AgeBand = anyBand.Draw(t, "band")
		if rapid.Bool().Draw(t, "reviewed") {
			f.MinorsReview = &pb.MinorsReview{Reviewer: "R", AgeBand: anyBand.Draw(t, "cleared")}
		}
		f.Ratings = rapid.SliceOfN(anyRating, 0, 2).Draw(t, "ratings")
		f.TakenDownMarkets = rapid.SliceOfNDistinct(rapid.SampledFrom(markets), 0, 1, rapid.ID).Draw(t, "down")
		f.Provenance.DigitalSourceType = rapid.SampledFrom([]string{generated, generated, generated, "?"}).Draw(t, "source")
		if rapid.IntRange(0, 4).Draw(t, "licensed") == 0 {
			f.Licenses = []*pb.License{{Market: "CN", Kind: "online-film", Number: "1"}}
		}
		derive(f)
		return f
	})
	anyViewer = rapid.Custom(func(t *rapid.T) *pb.Viewer {
		v := &pb.Viewer{Market: rapid.SampledFrom(markets).Draw(t, "market"), Audience: pb.Viewer_ADULT}
		if rapid.Bool().Draw(t, "child") {
			v.Audience, v.AgeBand = pb.Viewer_KIDS, pb.Film_AgeBand(rapid.Int32Range(1, 5).Draw(t, "child's band"))
		}
		return v
	})
)

// gate is what the shelf's gate says of a film on its own.
func gate(t require.TestingT, f *pb.Film, v *pb.Viewer, at time.Time) shelf.Verdict {
	f = proto.CloneOf(f)
	f.Name = "films/a"
	body, err := proto.Marshal(f)
	require.NoError(t, err)
	now, err := shelf.Of(1, []changes.Resource{{Name: f.Name, Revision: 1, Body: body}})
	require.NoError(t, err)
	verdict, _ := now.Gate(shelf.NewViewer(v), now.Film(f.Name), at)
	return verdict
}

// Whenever some viewer at some time sees the film as it was and not as it is, the change is
// a withdrawal.
func TestHidesWheneverTheGateDoes(t *testing.T) {
	checks(t, 3000)
	hidden := 0
	rapid.Check(t, func(rt *rapid.T) {
		old := anyFilm.Draw(rt, "old")
		changed := anyFilm.Draw(rt, "changed")
		for _, keep := range []func(){ // films that differ in everything are seldom near each other
			func() { changed.State, changed.DeleteTime = old.State, old.DeleteTime },
			func() { changed.Availability = old.Availability },
			func() { changed.AgeBand, changed.MinorsReview = old.AgeBand, old.MinorsReview },
			func() { changed.Ratings, changed.Licenses = old.Ratings, old.Licenses },
			func() { changed.TakenDownMarkets = old.TakenDownMarkets },
			func() { changed.Provenance = old.Provenance },
		} {
			if rapid.IntRange(0, 4).Draw(rt, "keep") > 0 {
				keep()
			}
		}
		v, at := anyViewer.Draw(rt, "viewer"), noon.AddDate(0, 0, rapid.IntRange(-6, 6).Draw(rt, "day"))
		if gate(rt, changed, v, at) < gate(rt, old, v, at) {
			hidden++
			if !hides(old, changed) {
				rt.Fatalf("%v no longer sees the film at %v, and the change is no withdrawal:\n%v\n%v", v, at, old, changed)
			}
		}
	})
	assert.Greater(t, hidden, 20, "the property was put to the test")
}

// ranked are lists by chart.
type ranked map[string]*generations.List

func (r ranked) Latest(chart, _ string) *generations.List { return r[chart] }

func TestExplainVisibility(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		f := h.published("a")
		h.OnStage(Stage{
			Lists:  ranked{"charts/hot": {Entries: []generations.Entry{{Film: "films/other"}, {Film: f.Name}}}, "charts/new": {}},
			Charts: []*pb.Chart{{Name: "charts/hot"}, {Name: "charts/new"}, {Name: "charts/none"}},
			Sections: []*pb.Section{
				{Name: "sections/hot", Source: &pb.Section_Chart{Chart: &pb.ChartSource{Chart: "charts/hot", Genre: "drama"}}},
				{Name: "sections/opera", Source: &pb.Section_Chart{Chart: &pb.ChartSource{Chart: "charts/hot", Genre: "opera"}}},
				{Name: "sections/hand", Source: &pb.Section_Manual{Manual: &pb.ManualSource{Films: []string{f.Name}}}},
				{Name: "sections/rule", Source: &pb.Section_Rule{Rule: &pb.RuleSource{Filter: "content_type = DRAMA"}}},
				{Name: "sections/pin", Pins: []*pb.Pin{{Film: f.Name}}},
				{Name: "sections/other", Source: &pb.Section_Rule{Rule: &pb.RuleSource{Filter: "content_type = COMIC"}}},
			},
		})
		explain := func(req *pb.ExplainVisibilityRequest) *pb.ExplainVisibilityResponse {
			t.Helper()
			req.Film = f.Name
			resp, err := h.ExplainVisibility(h.ctx, req)
			require.NoError(t, err)
			return resp
		}
		failed := func(resp *pb.ExplainVisibilityResponse) (rules []string) {
			for _, c := range resp.Checks {
				if !c.Passed {
					rules = append(rules, c.Rule)
				}
			}
			return rules
		}
		adult := &pb.Viewer{Market: "GB", Audience: pb.Viewer_ADULT}
		resp := explain(&pb.ExplainVisibilityRequest{Viewer: adult})
		assert.True(t, resp.Visible)
		assert.GreaterOrEqual(t, len(resp.Checks), 9)
		assert.Equal(t, []string{"charts/hot"}, resp.Charts)
		assert.Equal(t, []string{"sections/hand", "sections/hot", "sections/pin", "sections/rule"}, resp.Sections)
		resp = explain(&pb.ExplainVisibilityRequest{Viewer: &pb.Viewer{Market: "US"}})
		assert.False(t, resp.Visible)
		assert.Equal(t, []string{"window", "age_band", "minors_review"}, failed(resp), "an unset audience is a child's")
		_, err := h.TakeDownFilm(h.ctx, &pb.TakeDownFilmRequest{Name: f.Name, Markets: []string{"GB"}})
		require.NoError(t, err)
		assert.Equal(t, []string{"take_down"}, failed(explain(&pb.ExplainVisibilityRequest{Viewer: adult})))

		for path, req := range map[string]*pb.ExplainVisibilityRequest{
			"film": {Film: "x", Viewer: adult}, "viewer.market": {Film: f.Name, Viewer: &pb.Viewer{}}, "time": {Film: f.Name, Viewer: adult, Time: &timestamppb.Timestamp{Nanos: -1}},
			"viewer.age_band": {Film: f.Name, Viewer: &pb.Viewer{Market: "GB", Audience: pb.Viewer_KIDS, AgeBand: pb.Film_AGE_18}},
		} {
			_, err := h.ExplainVisibility(h.ctx, req)
			assert.ErrorContains(t, err, path+": ")
		}
		_, err = h.ExplainVisibility(h.ctx, &pb.ExplainVisibilityRequest{Film: "films/none", Viewer: adult})
		assert.Equal(t, pb.ErrorReason_FILM_NOT_FOUND, reason(t, err))
	})
}

// After any change that hides a film is acknowledged, another replica no longer shows it a
// second later, also while a large import is going on.
func TestP3WithdrawalsAreGoneWithinASecondDuringAnImport(t *testing.T) {
	url := theatertest.Postgres(t)
	editor, other := open(t, url, "replica-1"), open(t, url, "replica-2")
	withdrawals := map[string]func(name string) error{
		"take down": func(name string) error {
			_, err := editor.TakeDownFilm(editor.ctx, &pb.TakeDownFilmRequest{Name: name})
			return err
		},
		"take down in GB": func(name string) error {
			_, err := editor.TakeDownFilm(editor.ctx, &pb.TakeDownFilmRequest{Name: name, Markets: []string{"GB"}})
			return err
		},
		"delete": func(name string) error {
			_, err := editor.DeleteFilm(editor.ctx, &pb.DeleteFilmRequest{Name: name})
			return err
		},
		"withdraw": func(name string) error {
			_, err := editor.WithdrawFilm(editor.ctx, &pb.WithdrawFilmRequest{Name: name})
			return err
		},
		"narrower window": func(name string) error {
			_, err := editor.UpdateFilm(editor.ctx, &pb.UpdateFilmRequest{Film: &pb.Film{Name: name, Availability: []*pb.Availability{{Markets: []string{"SG"}}}}})
			return err
		},
		"imported narrower window": func(name string) error {
			f := &pb.Film{Name: name, Availability: []*pb.Availability{{Markets: []string{"SG"}}}}
			return editor.ImportFilms(&importStream{ctx: editor.ctx, in: []*pb.ImportFilmsRequest{{Films: []*pb.Film{f}}}})
		},
	}
	for what := range withdrawals {
		for i := range 3 {
			editor.published(canary(what, i))
		}
	}
	ctx, stop := context.WithCancel(editor.ctx)
	importing := make(chan error, 1)
	go func() { importing <- importForEver(ctx, editor) }()
	worst := time.Duration(0)
	for what, hide := range withdrawals {
		for i := range 3 {
			name := "films/" + canary(what, i)
			require.Eventually(t, func() bool { return other.seen(name, "GB") }, 30*time.Second, 5*time.Millisecond)
			require.NoError(t, hide(name), what)
			acknowledged := time.Now()
			assert.False(t, editor.seen(name, "GB"), what)
			for other.seen(name, "GB") {
				time.Sleep(5 * time.Millisecond)
				require.Less(t, time.Since(acknowledged), 5*time.Second, "%s: 1 s and what a busy machine adds", what)
			}
			worst = max(worst, time.Since(acknowledged))
		}
	}
	stop()
	require.ErrorIs(t, <-importing, context.Canceled)
	t.Logf("worst of %d: %v", 3*len(withdrawals), worst)
}

func canary(what string, i int) string {
	out := []byte(fmt.Sprintf("canary-%s-%d", what, i))
	for i, c := range out {
		if c == ' ' {
			out[i] = '-'
		} else if c >= 'A' && c <= 'Z' {
			out[i] = c + 'a' - 'A'
		}
	}
	return string(out)
}

func importForEver(ctx context.Context, h *house) error {
	for n := 0; ; n++ {
		req := &pb.ImportFilmsRequest{Publish: true}
		for i := range 500 {
			f := named(fmt.Sprintf("films/bulk-%d-%d", n%20, i))
			f.Runtime = durationpb.New(time.Hour + time.Duration(n)*time.Second)
			req.Films = append(req.Films, f)
		}
		err := h.ImportFilms(&importStream{ctx: ctx, in: []*pb.ImportFilmsRequest{req}})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		// A database this busy may be too late to answer, and the next import is as good.
		if err != nil && !fault.Is(err, pb.ErrorReason_STORE_UNAVAILABLE) {
			return err
		}
	}
}
