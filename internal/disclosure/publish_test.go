package disclosure

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/demo"
	"github.com/aitheater/theater/internal/fault"
)

var today = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// film meets every rule of CN.
func film(edit ...func(*pb.Film)) *pb.Film {
	f := &pb.Film{
		Name: "films/a", Runtime: durationpb.New(90 * time.Minute), AgeBand: pb.Film_AGE_16,
		Availability: []*pb.Availability{{Markets: []string{"US"}}, {Markets: []string{"GB", "CN"}}},
		Licenses:     []*pb.License{{Market: "CN", Kind: OnlineFilm, Number: "1"}},
		Provenance:   &pb.Provenance{DigitalSourceType: SourceTypeBase + "trainedAlgorithmicMedia"},
	}
	for _, e := range edit {
		e(f)
	}
	return f
}

func rules(violations []fault.Violation) []string {
	var out []string
	for _, v := range violations {
		out = append(out, v.Rule)
	}
	return out
}

func TestPublish(t *testing.T) {
	lasting := func(d time.Duration) func(*pb.Film) {
		return func(f *pb.Film) { f.Runtime = durationpb.New(d) }
	}
	kind := func(kind string) func(*pb.Film) { return func(f *pb.Film) { f.Licenses[0].Kind = kind } }
	reviewed := func(f *pb.Film) {
		f.MinorsReview = &pb.MinorsReview{Reviewer: "Ada", AgeBand: pb.Film_AGE_8}
	}
	band := func(b pb.Film_AgeBand) func(*pb.Film) { return func(f *pb.Film) { f.AgeBand = b } }
	for name, c := range map[string]struct {
		edits    []func(*pb.Film)
		children bool
		want     []string
	}{
		"all met":                     {},
		"no licence":                  {edits: []func(*pb.Film){func(f *pb.Film) { f.Licenses = nil }}, want: []string{"cn-license-feature"}},
		"licence of another market":   {edits: []func(*pb.Film){func(f *pb.Film) { f.Licenses[0].Market = "US" }}, want: []string{"cn-license-feature"}},
		"licence without a number":    {edits: []func(*pb.Film){func(f *pb.Film) { f.Licenses[0].Number = "" }}, want: []string{"cn-license-feature"}},
		"14:59 is a short":            {edits: []func(*pb.Film){lasting(14*time.Minute + 59*time.Second)}, want: []string{"cn-license-short"}},
		"14:59.9 is a short":          {edits: []func(*pb.Film){lasting(15*time.Minute - 100*time.Millisecond)}, want: []string{"cn-license-short"}},
		"14:59 filed":                 {edits: []func(*pb.Film){lasting(14*time.Minute + 59*time.Second), kind(MicroDramaFiling)}},
		"15:00 is a feature":          {edits: []func(*pb.Film){lasting(15 * time.Minute)}},
		"15:00 filed as a short":      {edits: []func(*pb.Film){lasting(15 * time.Minute), kind(MicroDramaFiling)}, want: []string{"cn-license-feature"}},
		"15:01 is a feature":          {edits: []func(*pb.Film){lasting(15*time.Minute + time.Second)}},
		"15:01 filed as a short":      {edits: []func(*pb.Film){lasting(15*time.Minute + time.Second), kind(MicroDramaFiling)}, want: []string{"cn-license-feature"}},
		"another kind":                {edits: []func(*pb.Film){kind("poster")}, want: []string{"cn-license-feature"}},
		"children's genre":            {children: true, want: []string{"cn-minors-review"}},
		"children's genre, reviewed":  {children: true, edits: []func(*pb.Film){reviewed}},
		"children's genre, no band":   {children: true, edits: []func(*pb.Film){reviewed, band(0)}, want: []string{"cn-minors-age-hint"}},
		"children's band":             {edits: []func(*pb.Film){band(pb.Film_AGE_3)}, want: []string{"cn-minors-review"}},
		"children's band, reviewed":   {edits: []func(*pb.Film){band(pb.Film_AGE_8), reviewed}},
		"review without a name":       {children: true, edits: []func(*pb.Film){reviewed, func(f *pb.Film) { f.MinorsReview.Reviewer = "" }}, want: []string{"cn-minors-review"}},
		"review without a band":       {children: true, edits: []func(*pb.Film){reviewed, func(f *pb.Film) { f.MinorsReview.AgeBand = 0 }}, want: []string{"cn-minors-review"}},
		"from 12 is not for children": {edits: []func(*pb.Film){band(pb.Film_AGE_12)}},
		"no band is not for children": {edits: []func(*pb.Film){band(0)}},
		"label unknown":               {edits: []func(*pb.Film){func(f *pb.Film) { f.Provenance = nil }}, want: []string{"cn-label-known"}},
		"all at once":                 {children: true, edits: []func(*pb.Film){band(0), func(f *pb.Film) { f.Licenses, f.Provenance = nil, nil }}, want: []string{"cn-license-feature", "cn-minors-review", "cn-minors-age-hint", "cn-label-known"}},
		"CN is not named": {edits: []func(*pb.Film){func(f *pb.Film) {
			f.Licenses, f.Availability = nil, []*pb.Availability{{Markets: []string{"US", "GB", "SG", "JP"}}}
		}}},
		"everywhere does not name CN": {edits: []func(*pb.Film){func(f *pb.Film) { f.Licenses, f.Availability = nil, []*pb.Availability{{}} }}},
	} {
		got := Publish(film(c.edits...), c.children, today)
		assert.Equal(t, c.want, rules(got), name)
		for _, v := range got {
			assert.Equal(t, "CN", v.Subject, name)
			assert.NotEmpty(t, v.Description, name)
		}
	}
	assert.Empty(t, Publish(film(func(f *pb.Film) { f.Licenses = nil }), false, day(2022, 5, 31)), "before the rule")
}

func TestShowable(t *testing.T) {
	unlicensed := film(func(f *pb.Film) { f.Licenses, f.Availability = nil, []*pb.Availability{{}} })
	assert.False(t, Showable(unlicensed, "CN", today), "also when availability names no market")
	assert.True(t, Showable(unlicensed, "US", today))
	assert.True(t, Showable(film(), "CN", today))

	unfiled := film(func(f *pb.Film) { f.Runtime = durationpb.New(5 * time.Minute) })
	assert.True(t, Showable(unfiled, "CN", day(2026, 4, 1).Add(-time.Microsecond)), "not yet")
	assert.False(t, Showable(unfiled, "CN", day(2026, 4, 1)))
	unfiled.Licenses = append(unfiled.Licenses, &pb.License{Market: "CN", Kind: MicroDramaFiling, Number: "2"})
	assert.True(t, Showable(unfiled, "CN", today))
}

// The season that comes with the demo obeys the law.
func TestTheDemoMeetsTheRules(t *testing.T) {
	genres := map[string]bool{}
	for _, g := range demo.Genres() {
		genres[g.GetName()] = g.GetChildren()
	}
	films := demo.Films(today)
	require.NotEmpty(t, films)
	for _, f := range films {
		children := false
		for _, slug := range f.GetGenres() {
			children = children || genres["genres/"+slug]
		}
		assert.Empty(t, Publish(f, children, today), f.GetName())
		for _, market := range []string{"CN", "US", "GB", "SG"} {
			assert.True(t, Showable(f, market, today), "%s in %s", f.GetName(), market)
		}
		assert.True(t, ParseLabel(f.GetProvenance().GetAigcLabel().GetRaw()).GetValid(), f.GetName())
	}
}
