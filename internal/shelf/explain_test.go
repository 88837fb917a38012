package shelf

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	pb "github.com/aitheater/theater/api/theater/v1"
)

// The explanation and the gate never disagree, and whatever failed says what to do.
func TestExplainAgreesWithTheGate(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		f, v := someFilm(rt, "films/a"), NewViewer(someViewer(rt))
		sh := load(t, f)
		if rapid.IntRange(0, 9).Draw(rt, "withdrawn") == 0 {
			sh.Withdraw(9, []string{"films/a"})
		}
		s := sh.Current()
		at := someInstants.Draw(rt, "now")
		verdict, _ := s.Gate(v, s.Film("films/a"), at)
		all := true
		for _, c := range s.Explain(v, s.Film("films/a"), at) {
			all = all && c.GetPassed()
			assert.NotEmpty(rt, c.GetRule())
			assert.NotEmpty(rt, c.GetFact(), c.GetRule())
			assert.Equal(rt, c.GetPassed(), c.GetRemedy() == "", c.GetRule())
		}
		assert.Equal(rt, verdict != Hidden, all)
	})
}

func TestExplainNamesTheRule(t *testing.T) {
	failing := func(v *Viewer, edit func(*pb.Film)) *pb.GateCheck {
		s, e := one(t, film("films/a", edit))
		var failed []*pb.GateCheck
		for _, c := range s.Explain(v, e, now) {
			if !c.GetPassed() {
				failed = append(failed, c)
			}
		}
		require.Len(t, failed, 1)
		return failed[0]
	}
	cn := NewViewer(&pb.Viewer{Market: "CN", Audience: pb.Viewer_ADULT})
	for _, c := range []struct {
		v                  *Viewer
		edit               func(*pb.Film)
		rule, fact, remedy string
	}{
		{adult, func(f *pb.Film) { f.State = pb.Film_DRAFT }, "state", "DRAFT", "PublishFilm"},
		{adult, func(f *pb.Film) { f.State = pb.Film_TAKEN_DOWN }, "state", "TAKEN_DOWN", "ReinstateFilm"},
		{adult, func(f *pb.Film) { f.TakenDownMarkets = []string{"US"} }, "take_down", "US", "ReinstateFilm"},
		{cn, func(*pb.Film) {}, "cn-show-license-feature", "5400", "online-film"},
		{adult, func(f *pb.Film) { f.Availability[0].Markets = []string{"GB"} }, "window", "none", "availability for US"},
		{adult, func(f *pb.Film) { f.Availability[0].StartTime = timestamppb.New(now.AddDate(0, 0, 1)) }, "window", "2026-11-24", "wait until 2026-11-24T12:00:00Z"},
		{child, func(f *pb.Film) { f.AgeBand = 0 }, "age_band", "AGE_BAND_UNSPECIFIED", "ALL"},
		{child, func(f *pb.Film) { f.MinorsReview = nil }, "minors_review", "AGE_BAND_UNSPECIFIED", "minors_review"},
		{child, func(f *pb.Film) { f.Ratings = []*pb.Rating{{Market: "US", System: "MPA", Code: "R"}} }, "rating", "MPA R (AGE_18)", "ALL"},
	} {
		got := failing(c.v, c.edit)
		assert.Equal(t, c.rule, got.GetRule())
		assert.Contains(t, got.GetFact(), c.fact, c.rule)
		assert.Contains(t, got.GetRemedy(), c.remedy, c.rule)
	}
}
