package bcp47

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestBest(t *testing.T) {
	for _, c := range []struct {
		wishes, available []string
		want              string
	}{
		{[]string{"zh-CN"}, []string{"en", "zh-Hans", "zh-Hant"}, "zh-Hans"},
		{[]string{"zh"}, []string{"en", "zh-Hans", "zh-Hant"}, "zh-Hans"},
		{[]string{"zh-HK"}, []string{"en", "zh-Hans", "zh-Hant"}, "zh-Hant"},
		{[]string{"zh-HK"}, []string{"zh-CN", "zh-TW"}, "zh-TW"},
		{[]string{"zh-HK"}, []string{"zh-CN", "zh-HK", "zh-TW"}, "zh-HK"},
		{[]string{"zh-Hant-TW"}, []string{"zh-Hans", "zh-HK", "zh-TW"}, "zh-TW"},
		{[]string{"zh-Hant-TW"}, []string{"zh-Hans", "zh-Hant", "zh-HK"}, "zh-Hant"},
		{[]string{"zh-HK"}, []string{"en", "zh-Hans"}, "zh-Hans"},
		{[]string{"zh-HK", "en"}, []string{"en", "zh-Hans"}, "en"},
		{[]string{"zh-SG"}, []string{"zh-Hant", "zh-CN"}, "zh-CN"},
		{[]string{"zh-MO"}, []string{"zh", "zh-Hant"}, "zh-Hant"},
		{[]string{"pt-BR"}, []string{"pt-PT", "pt-BR"}, "pt-BR"},
		{[]string{"pt-BR"}, []string{"pt-PT", "en"}, "pt-PT"},
		{[]string{"pt-BR"}, []string{"pt", "pt-PT"}, "pt"},
		{[]string{"pt"}, []string{"pt-AO", "pt-BR", "pt-PT"}, "pt-BR"},
		{[]string{"sr-Latn"}, []string{"sr", "sr-Latn"}, "sr-Latn"},
		{[]string{"sr-Latn-RS"}, []string{"sr", "sr-Cyrl", "sr-Latn"}, "sr-Latn"},
		{[]string{"sr-Latn", "hr"}, []string{"sr", "hr"}, "hr"},
		{[]string{"sr"}, []string{"sr-Cyrl", "sr-Latn"}, "sr-Cyrl"},
		{[]string{"EN-gb"}, []string{"de", "en-US", "en-GB"}, "en-GB"},
		{[]string{"en"}, []string{"en-AU", "en-US"}, "en-US"},
		{[]string{"cn"}, []string{"en", "zh", "cn"}, "cn"},
		{[]string{"xx-YY"}, []string{"en", "xx"}, "xx"},
		{[]string{"fr", "de"}, []string{"de", "en"}, "de"},
		{[]string{"fr"}, []string{"de", "en"}, "fallback"},
		{nil, []string{"de"}, "fallback"},
		{[]string{"de"}, nil, "fallback"},
		{[]string{"", "-", "--"}, []string{"de"}, "fallback"},
		{[]string{"en-x-latn-pirate"}, []string{"en", "de"}, "en"},
	} {
		assert.Equal(t, c.want, Best(c.wishes, c.available, "fallback"), "%v of %v", c.wishes, c.available)
	}
}

// FuzzBest: whatever is asked, the answer is one of those available or the fallback, and a
// tag that is there as asked wins.
func FuzzBest(f *testing.F) {
	f.Add("zh-HK", "en", "zh-Hant")
	f.Add("cn", "xx", "sr-Latn-x-a")
	f.Add("en-u-ca-gregory", "i-klingon", "x-private")
	f.Fuzz(func(t *testing.T, wish, a, b string) {
		got := Best([]string{wish}, []string{a, b}, "fallback")
		assert.Contains(t, []string{a, b, "fallback"}, got)
		own := Best([]string{wish}, []string{a, wish}, "fallback")
		assert.Equal(t, Parse(wish).exact, Parse(own).exact)
	})
}
