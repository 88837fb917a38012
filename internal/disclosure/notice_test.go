package disclosure

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
)

func TestNoticeByMarketAndTime(t *testing.T) {
	for name, c := range map[string]struct {
		market, language string
		class            Class
		at               time.Time
		rule, key, text  string
	}{
		"CN":                  {"CN", "zh-Hans", Generated, today, "cn-aigc-label", "ai-generated", "AI生成"},
		"CN in English":       {"CN", "en", Generated, today, "cn-aigc-label", "ai-generated", "AI生成 · AI-generated"},
		"CN may be":           {"CN", "zh-Hans", Possible, today, "cn-aigc-label", "ai-possible", "可能由AI生成"},
		"CN suspected":        {"CN", "zh-Hant", Suspected, today, "cn-aigc-label", "ai-suspected", "疑似AI生成"},
		"CN on the first day": {"CN", "zh-Hans", Generated, day(2025, 9, 1), "cn-aigc-label", "ai-generated", "AI生成"},
		"CN before":           {"CN", "zh-Hans", Possible, day(2025, 9, 1).Add(-time.Microsecond), "house-strictest", "ai-generated", "AI生成"},
		"EU":                  {"DE", "de", Composite, today, "eu-ai-act-50", "ai-composite", "Enthält KI-generiertes Material"},
		"EU before":           {"FR", "fr", Composite, day(2026, 8, 1), "house-strictest", "ai-generated", "Généré par IA"},
		"KR":                  {"KR", "ko", Generated, today, "kr-ai-basic-act", "ai-generated", "AI 생성"},
		"KR before":           {"KR", "ko", Generated, day(2026, 1, 21), "house-strictest", "ai-generated", "AI 생성"},
		"US":                  {"US", "en", Generated, today, "us-ca-sb-942", "ai-generated", "AI-generated"},
		"no law":              {"GB", "en", Composite, today, "house-strictest", "ai-generated", "AI-generated"},
		"unknown market":      {"ZZ", "ja", Suspected, today, "house-strictest", "ai-generated", "AI生成"},
		"no market":           {"", "en", Generated, today, "house-strictest", "ai-generated", "AI-generated"},
		"unknown language":    {"GB", "tlh", Generated, today, "house-strictest", "ai-generated", "AI-generated"},
		"unknown class":       {"US", "en", 77, today, "us-ca-sb-942", "ai-generated", "AI-generated"},
		"made by people":      {"GB", "en", Captured, today, "house-strictest", "no-ai-declared", "No AI-generated material declared"},
		"long ago":            {"US", "en", Generated, time.Unix(0, 0), "house-strictest", "ai-generated", "AI-generated"},
	} {
		got := Card(c.class, c.market, c.language, c.at)
		assert.Equal(t, []string{c.rule, c.key, c.text}, []string{got.GetRule(), got.GetKey(), got.GetText()}, name)
	}
}

func TestEveryNoticeHasTextAndWire(t *testing.T) {
	for _, market := range append(europeanUnion, "CN", "KR", "US", "GB", "??") {
		for class := range Class(classes) {
			for _, language := range Languages {
				n := CardNotice(class, market, language, today.UnixMicro())
				assert.NotEmpty(t, n.Disclosure.GetText())
				got := &pb.Disclosure{}
				require.NoError(t, proto.Unmarshal(n.Wire, got))
				assert.True(t, proto.Equal(n.Disclosure, got))
				if market == "CN" && class < Assisted {
					assert.Contains(t, got.GetText(), "AI")
					assert.True(t, strings.Contains(got.GetText(), "生成") || strings.Contains(got.GetText(), "合成"), got.GetText())
				}
			}
		}
	}
}

// Between two changes nothing changes; the times asked are those of all rules.
func TestNextChange(t *testing.T) {
	at := always
	var met []int64
	for at != never {
		next := NextChange(at)
		require.Greater(t, next, at)
		if next != never {
			met = append(met, next)
			assert.Equal(t, next, NextChange(next-1))
		}
		for _, market := range []string{"CN", "DE", "KR", "US"} {
			if next != never && at != always {
				assert.Equal(t, CardNotice(Composite, market, "en", at), CardNotice(Composite, market, "en", next-1), market)
			}
		}
		at = next
	}
	assert.Contains(t, met, day(2026, 8, 2).UnixMicro())
}

func TestResolve(t *testing.T) {
	f := film(func(f *pb.Film) {
		f.DefaultLanguage = "zh-Hans"
		f.Provenance.DigitalSourceType = strings.Replace(f.Provenance.DigitalSourceType, "http:", "https:", 1)
		f.Provenance.C2Pa = &pb.C2PaManifest{ManifestHash: "abc", ValidationStatus: "Trusted"}
	})
	opening := Resolve(f, "CN", pb.DisclosureSurface_OPENING, "en-GB", today)
	assert.Equal(t, "cn-aigc-label", opening.GetDisclosure().GetRule())
	assert.Equal(t, "en", opening.GetLanguage())
	assert.Equal(t, "start", opening.GetPlacement())
	assert.Equal(t, 2*time.Second, opening.GetMinDuration().AsDuration())
	assert.Equal(t, 0.05, opening.GetMinTextShare())
	assert.Equal(t, day(2025, 9, 1), opening.GetEffectiveTime().AsTime())
	assert.Nil(t, opening.GetExpireTime())
	assert.Contains(t, opening.GetLegalBasis(), "Art. 4")
	assert.Equal(t, Version, opening.GetRulesVersion())
	assert.Equal(t, map[string]string{
		"Iptc4xmpExt:DigitalSourceType": SourceTypeBase + "trainedAlgorithmicMedia", // http
		"AIGC":                          `{"AIGC":{"Label":"1"}}`, "c2pa:manifest_hash": "abc", "c2pa:validation_status": "Trusted", "license_number": "1",
	}, opening.GetFields())

	assert.Equal(t, "zh-Hans", Resolve(f, "CN", 0, "tlh", today).GetLanguage(), "the film's own language next")
	assert.Equal(t, "start-and-around-player", Resolve(f, "ZZ", 0, "en", today).GetPlacement(), "the strictest surface")
	assert.Equal(t, "start-and-around-player", Resolve(f, "ZZ", 99, "en", today).GetPlacement(), "a surface of a later version")
	card := Resolve(f, "GB", pb.DisclosureSurface_CARD, "en", today)
	assert.Nil(t, card.GetMinDuration())
	assert.Nil(t, card.GetEffectiveTime(), "the house rule was always there")
	card.Disclosure.Text = "scribbled"
	assert.Equal(t, "AI-generated", Card(Generated, "GB", "en", today).GetText(), "the answer is the caller's")

	past := Resolve(f, "US", pb.DisclosureSurface_PLAYER, "en", day(2026, 8, 1))
	assert.Equal(t, "house-strictest", past.GetDisclosure().GetRule(), "what was shown then")
}

func TestRules(t *testing.T) {
	all := Rules("")
	seen := map[string]bool{}
	for i, r := range all {
		key := r.GetMarket() + " " + r.GetId()
		assert.False(t, seen[key], "%s twice", key)
		seen[key] = true
		assert.NotEmpty(t, r.GetDescription(), key)
		assert.NotEmpty(t, r.GetLegalBasis(), key)
		assert.NotZero(t, r.GetKind(), key)
		if i > 0 {
			assert.LessOrEqual(t, all[i-1].GetMarket(), r.GetMarket())
		}
	}
	for _, want := range []string{"CN cn-license-feature", "CN cn-license-short", "CN cn-minors-review", "CN cn-aigc-label", "CN cn-show-filing-short", "DE eu-ai-act-50", "KR kr-ai-basic-act", "US us-ca-sb-942", " house-strictest", " film-title"} {
		assert.True(t, seen[want], want)
	}
	for _, r := range Rules("US") {
		assert.Contains(t, []string{"", "US"}, r.GetMarket())
	}
	// Every rule that Publish and Bans can name is listed.
	broken := film(func(f *pb.Film) { f.Licenses, f.Provenance, f.AgeBand = nil, nil, 0 })
	for _, v := range Publish(broken, true, today) {
		assert.True(t, seen[v.Subject+" "+v.Rule], v.Rule)
	}
	for _, b := range Bans(broken) {
		assert.True(t, seen[b.Market+" "+b.Rule], b.Rule)
	}
}

func TestClassOf(t *testing.T) {
	for name, c := range map[string]struct {
		source, label string
		share         float64
		want          Class
	}{
		"generated":                {"trainedAlgorithmicMedia", "", 0, Generated},
		"composite":                {"compositeSynthetic", "", 0, Composite},
		"composite, label says is": {"compositeSynthetic", `{"AIGC":{"Label":"1"}}`, 0, Generated},
		"captured":                 {"digitalCapture", "", 0, Captured},
		"captured, with a stage":   {"digitalCapture", "", 0.1, Composite},
		"captured, may be":         {"digitalCapture", `{"AIGC":{"Label":"2"}}`, 0, Possible},
		"captured, suspected":      {"digitalCapture", `{"AIGC":{"Label":"3"}}`, 0, Suspected},
		"captured, broken label":   {"digitalCapture", `Label: AIGC`, 0, Suspected},
		"unknown":                  {"oilOnCanvas", "", 0, Generated},
		"none":                     {"", `{"AIGC":{"Label":"3"}}`, 0, Generated},
	} {
		f := &pb.Film{Provenance: &pb.Provenance{DigitalSourceType: SourceTypeBase + c.source, AigcLabel: &pb.AigcLabel{Raw: []byte(c.label)}}}
		if c.share > 0 {
			f.Provenance.Stages = []*pb.ProductionStage{{AiShare: c.share}}
		}
		assert.Equal(t, c.want, ClassOf(f), name)
	}
	assert.Equal(t, Generated, ClassOf(nil))
}

func TestSourceTypes(t *testing.T) {
	for uri, want := range map[string]string{
		"https://cv.iptc.org/newscodes/digitalsourcetype/composite":  SourceTypeBase + "composite",
		"http://cv.iptc.org/newscodes/digitalsourcetype/composite":   SourceTypeBase + "composite",
		"https://cv.iptc.org/newscodes/digitalsourcetype/composite/": SourceTypeBase + "composite",
		"https://example.com/composite":                              "https://example.com/composite",
		"composite":                                                  "composite",
		"":                                                           "",
	} {
		assert.Equal(t, want, NormalizeSourceType(uri), uri)
		assert.Equal(t, strings.Contains(uri, "cv.iptc.org"), Known(uri), uri)
	}
	assert.False(t, Known(SourceTypeBase+"unheardOf"))
	assert.False(t, Known(SourceTypeBase))
	assert.True(t, slices.Contains(Languages, "ko"))
}
