package auth_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/fault"
)

func TestNarrow(t *testing.T) {
	const adult, kids, unset = pb.Viewer_ADULT, pb.Viewer_KIDS, pb.Viewer_AUDIENCE_UNSPECIFIED
	for _, c := range []struct {
		name            string
		claim, asked    pb.Viewer_Audience
		claimBand, band pb.Film_AgeBand
		want            pb.Viewer_Audience
		wantBand        pb.Film_AgeBand
	}{
		{"unset is KIDS, ALL", unset, unset, 0, 0, kids, pb.Film_ALL},
		{"unset stays KIDS for an ADULT claim", adult, unset, 0, 0, kids, pb.Film_ALL},
		{"ADULT where no claim bars it", unset, adult, 0, 0, adult, 0},
		{"an ADULT's band is cleared", adult, adult, 0, pb.Film_AGE_18, adult, 0},
		{"KIDS stays KIDS", kids, adult, 0, pb.Film_AGE_12, kids, pb.Film_AGE_12},
		{"a band above the claim is lowered", kids, kids, pb.Film_AGE_8, pb.Film_AGE_16, kids, pb.Film_AGE_8},
		{"a band below the claim stays", kids, kids, pb.Film_AGE_8, pb.Film_AGE_3, kids, pb.Film_AGE_3},
		{"an unset band is ALL, also under a claim", kids, kids, pb.Film_AGE_8, 0, kids, pb.Film_ALL},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := &pb.Viewer{Market: "CN", Languages: []string{"zh"}, Audience: c.asked, AgeBand: c.band}
			before := proto.Clone(v)
			got, err := auth.Narrow(&auth.Caller{Audience: c.claim, AgeBand: c.claimBand}, v)
			require.NoError(t, err)
			assert.Equal(t, c.want, got.Audience)
			assert.Equal(t, c.wantBand, got.AgeBand)
			assert.Equal(t, []string{"zh"}, got.Languages)
			assert.True(t, proto.Equal(before, v), "the argument was changed")
		})
	}
}

func TestNarrowRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		caller auth.Caller
		viewer *pb.Viewer
		kind   fault.Kind
	}{
		"no viewer":                    {auth.Caller{}, nil, fault.InvalidArgument},
		"no market":                    {auth.Caller{}, &pb.Viewer{}, fault.InvalidArgument},
		"KIDS with AGE_18":             {auth.Caller{}, &pb.Viewer{Market: "CN", AgeBand: pb.Film_AGE_18}, fault.InvalidArgument},
		"ADULT held to KIDS at AGE_18": {auth.Caller{Audience: pb.Viewer_KIDS}, &pb.Viewer{Market: "CN", Audience: pb.Viewer_ADULT, AgeBand: pb.Film_AGE_18}, fault.InvalidArgument},
		"a band that does not exist":   {auth.Caller{}, &pb.Viewer{Market: "CN", AgeBand: -1}, fault.InvalidArgument},
		"more tags than anyone knows":  {auth.Caller{}, &pb.Viewer{Market: "CN", Languages: make([]string, 21)}, fault.InvalidArgument},
		"a tag no language has":        {auth.Caller{}, &pb.Viewer{Market: "CN", Languages: []string{"zh", strings.Repeat("x", 101)}}, fault.InvalidArgument},
		"a market beyond the claim":    {auth.Caller{Markets: []string{"CN"}}, &pb.Viewer{Market: "US"}, fault.PermissionDenied},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := auth.Narrow(&c.caller, c.viewer)
			require.Error(t, err)
			assert.Equal(t, c.kind, fault.As(err).Kind)
		})
	}
}

func TestNarrowNeverWidens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := &auth.Caller{
			Audience: pb.Viewer_Audience(rapid.Int32Range(0, 3).Draw(t, "claim")),
			AgeBand:  pb.Film_AgeBand(rapid.Int32Range(0, 7).Draw(t, "claimed band")),
			Markets:  rapid.SliceOf(rapid.SampledFrom([]string{"CN", "US"})).Draw(t, "markets"),
		}
		v := &pb.Viewer{
			Market:   rapid.SampledFrom([]string{"", "CN", "US", "GB"}).Draw(t, "market"),
			Audience: pb.Viewer_Audience(rapid.Int32Range(-1, 4).Draw(t, "audience")),
			AgeBand:  pb.Film_AgeBand(rapid.Int32Range(-1, 9).Draw(t, "band")),
		}
		got, err := auth.Narrow(c, v)
		if err != nil {
			return
		}
		require.True(t, c.MayMarket(got.Market))
		switch got.Audience {
		case pb.Viewer_ADULT:
			require.Equal(t, pb.Viewer_ADULT, v.Audience)
			require.NotEqual(t, pb.Viewer_KIDS, c.Audience)
		case pb.Viewer_KIDS:
			require.GreaterOrEqual(t, got.AgeBand, pb.Film_ALL)
			require.LessOrEqual(t, got.AgeBand, pb.Film_AGE_16)
			if c.AgeBand != 0 {
				require.LessOrEqual(t, got.AgeBand, c.AgeBand)
			}
		default:
			t.Fatalf("audience %v", got.Audience)
		}
	})
}
