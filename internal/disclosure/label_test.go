package disclosure

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
)

const wholeLabel = `{"AIGC":{"Label":"1","ContentProducer":"00119111","ProduceID":"a-1","ReservedCode1":"-","ContentPropagator":"AI-Theater","PropagateID":"b","ReservedCode2":""}}`

func TestParseLabel(t *testing.T) {
	label := func(value string) string { return `{"AIGC":{"Label":"1","ProduceID":` + value + `}}` }
	for raw, want := range map[string]pb.AigcLabel_Class{
		wholeLabel:                           pb.AigcLabel_CONFIRMED,
		`{"AIGC":{"Label":"1"}}`:             pb.AigcLabel_CONFIRMED,
		`{"AIGC":{"Label":"2"}}`:             pb.AigcLabel_POSSIBLE,
		`{"AIGC":{"Label":"3"}}`:             pb.AigcLabel_SUSPECTED,
		" {\n\"AIGC\" : {\"Label\":\"1\"}} ": pb.AigcLabel_CONFIRMED, // white space of JSON, not of a value
		label(`"!#[]~"`):                     pb.AigcLabel_CONFIRMED,
		label(`"\u0041"`):                    pb.AigcLabel_CONFIRMED, // an escape of an allowed character
	} {
		got := ParseLabel([]byte(raw))
		assert.True(t, got.GetValid(), raw)
		assert.Equal(t, want, got.GetClass(), raw)
		assert.Equal(t, raw, string(got.GetRaw()))
	}
	for _, raw := range []string{
		"Label: AIGC", "1", "null", "[]", "{}", `{"AIGC":null}`, `{"AIGC":{}}`, `{"AIGC":"1"}`, `{"aigc":{"Label":"1"}}`, `{"AIGC":{"label":"1"}}`,
		`{"AIGC":{"Label":1}}`, `{"AIGC":{"Label":"4"}}`, `{"AIGC":{"Label":""}}`, `{"AIGC":{"Label":"AIGC"}}`, `{"AIGC":{"Label":"1","Label":"2"}}`,
		`{"AIGC":{"Label":"1","Extra":"x"}}`, `{"AIGC":{"Label":"1","ProduceID":null}}`, `{"AIGC":{"Label":"1","ProduceID":{}}}`, `{"AIGC":{"Label":"1"},"more":1}`,
		`{"AIGC":{"Label":"1"}}{}`, `{"AIGC":{"Label":"1"}`, `{"AIGC":{"Label":"1"}} x`, `{"AIGC":{"ContentProducer":"x"}}`,
		label(`"a b"`), label(`"a\"b"`), label(`"a\\b"`), label(`"\u0000"`), label(`"字"`), label("\"a\xff\""), label("\"a\x7f\""), label("\"a\nb\""),
		" ", "\x00", strings.Repeat("[", 60_000), strings.Repeat("x", 1<<20), `{"AIGC":{"Label":"1","ProduceID":"` + strings.Repeat("x", MaxLabel) + `"}}`,
	} {
		got := ParseLabel([]byte(raw))
		assert.False(t, got.GetValid(), "%.80q", raw)
		assert.Equal(t, pb.AigcLabel_SUSPECTED, got.GetClass(), "%.80q", raw)
		assert.Equal(t, raw, string(got.GetRaw()), "the bytes are kept")
	}
	assert.Nil(t, ParseLabel(nil))
	assert.Nil(t, ParseLabel([]byte{}))
	whole := ParseLabel([]byte(wholeLabel))
	assert.Equal(t, "00119111", whole.GetContentProducer())
	assert.Equal(t, "a-1", whole.GetProduceId())
	assert.Equal(t, "AI-Theater", whole.GetContentPropagator())
}

// A valid label, read as plain JSON, says the same; whatever comes, the bytes are kept and
// what is given is valid text.
func FuzzParseLabel(f *testing.F) {
	for _, s := range []string{wholeLabel, `{"AIGC":{"Label":"2","ReservedCode1":"\u00e9"}}`, "Label: AIGC", `{"AIGC":{"Label":"1"`, ""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		got := ParseLabel(raw)
		assert.True(t, bytes.Equal(raw, got.GetRaw()))
		assert.Equal(t, len(raw) > 0, got.GetClass() != 0)
		for _, field := range labelFields {
			if got != nil {
				assert.True(t, utf8.ValidString(*field.in(got)))
			}
		}
		if !got.GetValid() {
			return
		}
		var plain struct{ AIGC map[string]string }
		assert.NoError(t, json.Unmarshal(raw, &plain))
		assert.Equal(t, plain.AIGC["Label"], got.GetLabel())
		assert.Equal(t, plain.AIGC["ProduceID"], got.GetProduceId())
		assert.Contains(t, "123", got.GetLabel())
	})
}

func TestCheckLabel(t *testing.T) {
	f := film(func(f *pb.Film) {
		f.Provenance.AigcLabel = ParseLabel([]byte(wholeLabel))
		f.Provenance.C2Pa = &pb.C2PaManifest{ManifestHash: "AbC1"}
	})
	label := func(f *pb.Film, raw string) *pb.CheckLabelResponse {
		return CheckLabel(f, &pb.CheckLabelRequest{Found: &pb.CheckLabelRequest_AigcLabel{AigcLabel: []byte(raw)}})
	}
	hash := func(f *pb.Film, h string) *pb.CheckLabelResponse {
		return CheckLabel(f, &pb.CheckLabelRequest{Found: &pb.CheckLabelRequest_ManifestHash{ManifestHash: h}})
	}
	assert.Equal(t, pb.CheckLabelResponse_MATCH, label(f, wholeLabel).GetResult())
	assert.Equal(t, pb.CheckLabelResponse_MATCH, label(f, strings.ReplaceAll(wholeLabel, ":", " : ")).GetResult(), "spelled differently, says the same")
	other := label(f, strings.Replace(wholeLabel, "a-1", "a-2", 1))
	assert.Equal(t, pb.CheckLabelResponse_MISMATCH, other.GetResult())
	assert.Equal(t, []string{"ProduceID"}, other.GetDifferences())
	assert.Equal(t, "a-2", other.GetLabel().GetProduceId())
	broken := label(f, "Label: AIGC")
	assert.Equal(t, pb.CheckLabelResponse_MISMATCH, broken.GetResult())
	assert.Equal(t, []string{"raw"}, broken.GetDifferences())
	assert.Equal(t, pb.CheckLabelResponse_UNKNOWN, label(film(), wholeLabel).GetResult())
	assert.Equal(t, pb.CheckLabelResponse_MISMATCH, label(f, "").GetResult(), "an empty find is not what is held")

	brokenToo := film(func(f *pb.Film) { f.Provenance.AigcLabel = &pb.AigcLabel{Raw: []byte("Label: AIGC")} })
	assert.Equal(t, pb.CheckLabelResponse_MATCH, label(brokenToo, "Label: AIGC").GetResult(), "byte for byte")

	assert.Equal(t, pb.CheckLabelResponse_MATCH, hash(f, "abc1").GetResult())
	assert.Equal(t, pb.CheckLabelResponse_MISMATCH, hash(f, "abc2").GetResult())
	assert.Equal(t, []string{"manifest_hash"}, hash(f, "abc2").GetDifferences())
	assert.Equal(t, pb.CheckLabelResponse_UNKNOWN, hash(film(), "abc1").GetResult())
	assert.Equal(t, pb.CheckLabelResponse_UNKNOWN, CheckLabel(f, &pb.CheckLabelRequest{}).GetResult())
}

func TestStrengthens(t *testing.T) {
	source := func(term string) func(*pb.Film) {
		return func(f *pb.Film) { f.Provenance.DigitalSourceType = SourceTypeBase + term }
	}
	label := func(raw string) func(*pb.Film) {
		return func(f *pb.Film) { f.Provenance.AigcLabel = ParseLabel([]byte(raw)) }
	}
	hash := func(h string) func(*pb.Film) {
		return func(f *pb.Film) { f.Provenance.C2Pa = &pb.C2PaManifest{ManifestHash: h} }
	}
	type edits = []func(*pb.Film)
	for name, c := range map[string]struct {
		old, changed edits
		lost         []string
	}{
		"nothing changes":          {nil, nil, nil},
		"first word":               {edits{source("")}, edits{source("digitalCapture")}, nil},
		"stricter":                 {edits{source("compositeSynthetic")}, edits{source("trainedAlgorithmicMedia")}, nil},
		"weaker":                   {edits{source("trainedAlgorithmicMedia")}, edits{source("compositeSynthetic")}, []string{"disclosure-class"}},
		"unsaid":                   {nil, edits{source("")}, []string{"disclosure-source-type"}},
		"no provenance":            {edits{label(wholeLabel)}, edits{func(f *pb.Film) { f.Provenance = nil }}, []string{"disclosure-source-type", "disclosure-label"}},
		"label comes":              {nil, edits{label(wholeLabel)}, nil},
		"label goes":               {edits{label(wholeLabel)}, nil, []string{"disclosure-label"}},
		"another label as strong":  {edits{label(wholeLabel)}, edits{label(`{"AIGC":{"Label":"1"}}`)}, nil},
		"is becomes may be":        {edits{label(wholeLabel)}, edits{label(`{"AIGC":{"Label":"2"}}`)}, []string{"disclosure-label"}},
		"may be becomes is":        {edits{label(`{"AIGC":{"Label":"2"}}`)}, edits{label(wholeLabel)}, nil},
		"broken becomes may be":    {edits{label("x")}, edits{label(`{"AIGC":{"Label":"2"}}`)}, nil},
		"is becomes broken":        {edits{label(wholeLabel)}, edits{label("x")}, []string{"disclosure-label"}},
		"manifest goes":            {edits{hash("a")}, nil, []string{"disclosure-manifest"}},
		"manifest of a new master": {edits{hash("a")}, edits{hash("b")}, nil},
		"machine's share goes": {
			edits{source("digitalCapture"), func(f *pb.Film) { f.Provenance.Stages = []*pb.ProductionStage{{AiShare: 1}} }},
			edits{source("digitalCapture")}, []string{"disclosure-class"},
		},
	} {
		err := Strengthens(film(c.old...), film(c.changed...))
		if c.lost == nil {
			assert.NoError(t, err, name)
			continue
		}
		if assert.True(t, fault.Is(err, pb.ErrorReason_DISCLOSURE_WEAKENED), "%s: %v", name, err) {
			assert.Equal(t, c.lost, rules(fault.As(err).Violations), name)
			assert.Equal(t, fault.FailedPrecondition, fault.As(err).Kind)
		}
	}
}
