package masks

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"pgregory.net/rapid"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
)

func apply(t *testing.T, dst, src proto.Message, paths ...string) {
	t.Helper()
	m, err := Parse("update_mask", &fieldmaskpb.FieldMask{Paths: paths}, dst)
	require.NoError(t, err)
	m.Apply(dst, src)
}

func TestApply(t *testing.T) {
	stored := func() *pb.Film {
		return &pb.Film{Name: "films/a", Etag: "e", State: pb.Film_PUBLISHED, Tags: []string{"x"}, Runtime: durationpb.New(1e9),
			Localizations: map[string]*pb.FilmLocalization{"en": {Title: "A"}, "zh": {Title: "甲"}},
			Provenance:    &pb.Provenance{DigitalSourceType: "old", Stages: []*pb.ProductionStage{{Tool: "Veo"}}}}
	}
	sent := &pb.Film{Name: "films/b", Etag: "f", State: pb.Film_DRAFT, DefaultLanguage: "en",
		Localizations: map[string]*pb.FilmLocalization{"fr": {Title: "Un"}}, Provenance: &pb.Provenance{DigitalSourceType: "new"}}

	f := stored()
	apply(t, f, sent)
	assert.Equal(t, "films/a", f.Name)
	assert.Equal(t, "e", f.Etag)
	assert.Equal(t, pb.Film_PUBLISHED, f.State, "output-only")
	assert.Equal(t, "en", f.DefaultLanguage)
	assert.Len(t, f.Localizations, 1, "a map is replaced whole")
	assert.Equal(t, []string{"x"}, f.Tags, "unset is left alone without a mask")
	assert.Empty(t, f.Provenance.Stages, "a message is replaced whole")

	f = stored()
	apply(t, f, sent, "*")
	assert.Empty(t, f.Tags)
	assert.Nil(t, f.Runtime)
	assert.Equal(t, pb.Film_PUBLISHED, f.State)

	f = stored()
	apply(t, f, sent, "provenance.digital_source_type", "tags", "state", "name")
	assert.Equal(t, "new", f.Provenance.DigitalSourceType)
	assert.Len(t, f.Provenance.Stages, 1)
	assert.Empty(t, f.Tags)
	assert.Equal(t, "films/a", f.Name)
	assert.Equal(t, pb.Film_PUBLISHED, f.State)
	assert.Len(t, f.Localizations, 2)

	f = &pb.Film{}
	apply(t, f, &pb.Film{}, "provenance.c2pa.manifest_hash")
	assert.Nil(t, f.Provenance, "clearing inside nothing makes nothing")
}

func TestApplyOneof(t *testing.T) {
	for _, paths := range [][]string{{"chart"}, {"manual"}, {"*"}} {
		s := &pb.Section{Source: &pb.Section_Manual{Manual: &pb.ManualSource{Films: []string{"films/a"}}}}
		apply(t, s, &pb.Section{Source: &pb.Section_Chart{Chart: &pb.ChartSource{Chart: "charts/hot"}}}, paths...)
		assert.Equal(t, "charts/hot", s.GetChart().GetChart(), "%v", paths)
		apply(t, s, &pb.Section{}, paths...)
		assert.Nil(t, s.Source)
	}
}

func TestParseRefuses(t *testing.T) {
	for path, want := range map[string]string{
		"nope": "not a field", "localizations.en": "replaced whole", "runtime.seconds": "replaced whole", "ratings.code": "replaced whole", "provenance.nope": "not a field",
		"": "not a field", ".": "not a field", "provenance.": "not a field", "title.*": "not a field", strings.Repeat("x", 1e6): "not a field",
	} {
		_, err := Parse("update_mask", &fieldmaskpb.FieldMask{Paths: []string{path, "tags"}}, &pb.Film{})
		e := fault.As(err)
		require.NotNil(t, e, path)
		assert.Equal(t, fault.InvalidArgument, e.Kind)
		assert.True(t, strings.HasPrefix(e.Message, "update_mask: "), e.Message)
		assert.Contains(t, e.Message, want)
		assert.Less(t, len(e.Message), 400)
	}
	_, err := Parse("update_mask", &fieldmaskpb.FieldMask{Paths: make([]string, 201)}, &pb.Film{})
	assert.ErrorContains(t, err, "at most 200")
}

func TestNames(t *testing.T) {
	m, err := Parse("m", &fieldmaskpb.FieldMask{Paths: []string{"provenance.aigc_label", "licenses"}}, &pb.Film{})
	require.NoError(t, err)
	assert.True(t, m.Names("provenance.aigc_label"))
	assert.True(t, m.Names("licenses"))
	assert.False(t, m.Names("provenance"))
}

func TestClearOutput(t *testing.T) {
	f := &pb.Film{Name: "films/a", Etag: "e", Uid: "u", Stats: &pb.FilmStats{Plays: 1}, Awards: []*pb.Award{{Prize: "p"}},
		Provenance: &pb.Provenance{AigcLabel: &pb.AigcLabel{Raw: []byte("{}"), Valid: true, Label: "1"}}}
	f.ProtoReflect().SetUnknown([]byte{0xf8, 0x07, 0x01})
	ClearOutput(f)
	assert.True(t, proto.Equal(&pb.Film{Name: "films/a", Etag: "e", Provenance: &pb.Provenance{AigcLabel: &pb.AigcLabel{Raw: []byte("{}")}}}, f), "%v", f)
}

// A field named by the mask has the source's value afterwards; any other keeps its own.
func TestApplyTouchesExactlyWhatIsNamed(t *testing.T) {
	fields := []string{"default_language", "tags", "countries", "age_band", "runtime", "licenses", "minors_review"}
	film := rapid.Custom(func(t *rapid.T) *pb.Film {
		f := &pb.Film{DefaultLanguage: rapid.SampledFrom([]string{"", "en", "zh"}).Draw(t, "lang"),
			Tags: rapid.SliceOfN(rapid.StringMatching(`[a-c]`), 0, 2).Draw(t, "tags"), Countries: rapid.SliceOfN(rapid.StringMatching(`[A-C]{2}`), 0, 2).Draw(t, "countries"),
			AgeBand: pb.Film_AgeBand(rapid.Int32Range(0, 6).Draw(t, "band"))}
		if rapid.Bool().Draw(t, "runtime") {
			f.Runtime = durationpb.New(5)
		}
		if rapid.Bool().Draw(t, "review") {
			f.MinorsReview = &pb.MinorsReview{Reviewer: "R"}
		}
		return f
	})
	rapid.Check(t, func(t *rapid.T) {
		old, sent := film.Draw(t, "old"), film.Draw(t, "sent")
		named := rapid.SliceOfNDistinct(rapid.SampledFrom(fields), 1, -1, rapid.ID).Draw(t, "mask")
		m, err := Parse("m", &fieldmaskpb.FieldMask{Paths: named}, old)
		require.NoError(t, err)
		got := proto.CloneOf(old)
		m.Apply(got, sent)
		for _, name := range fields {
			want := old
			if m.Names(name) {
				want = sent
			}
			one, err := Parse("m", &fieldmaskpb.FieldMask{Paths: []string{name}}, old)
			require.NoError(t, err)
			a, b := &pb.Film{}, &pb.Film{}
			one.Apply(a, got)
			one.Apply(b, want)
			require.True(t, proto.Equal(a, b), "%s: %v, want %v", name, a, b)
		}
	})
}
