package texts

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"golang.org/x/text/language"
)

func TestWellFormed(t *testing.T) {
	for _, s := range []string{"en", "EN", "zh-Hant-HK", "zh-cn", "cn", "xx", "de-CH-1901", "sl-rozaj-biske", "zh-yue-HK", "es-419",
		"en-a-bbb-x-a-ccc", "x-whatever", "i-klingon", "sgn-BE-FR", "en-GB-oed", "be-tarask", "sr-el", "tt-cyrl", "abcdefgh", "de-u-co-phonebk", "art-lojban", "zh-min-nan"} {
		assert.True(t, WellFormed(s), s)
	}
	for _, s := range []string{"", "e", "en_US", "en-", "-en", "en--US", "en US", "abcdefghi", "en-x", "x", "en-a", "中文", "en\n", " en", "1", "i-none",
		strings.Repeat("a-", 60), "en-" + strings.Repeat("abcde-", 20) + "abcde"} {
		assert.False(t, WellFormed(s), "%q", s)
	}
}

func TestTitle(t *testing.T) {
	for _, s := range []string{"O", "1984", " padded ", "می\u200cدانم", "\u200b", "🏴", strings.Repeat("字", 1000), `\"<script>`, "\ufeff"} {
		assert.Empty(t, Title(s), "%q", s)
	}
	for s, want := range map[string]string{
		"": "empty", " \u3000\u00a0": "white space", "a\tb": "U+0009 at byte 1", "a\u0085": "U+0085", "\x00": "U+0000", "\x7f": "U+007F", strings.Repeat("字", 1001): "at most 1000",
	} {
		assert.Contains(t, Title(s), want, "%q", s)
	}
}

func TestBody(t *testing.T) {
	assert.Empty(t, Body(""))
	assert.Empty(t, Body("a\n\tb"))
	assert.Contains(t, Body("a\rb"), "U+000D")
	assert.Contains(t, Body(strings.Repeat("x", 10001)), "10000")
}

func TestTitlesNamesTheEntry(t *testing.T) {
	broken := Titles("genre.display_names", map[string]string{"en": "Drama", "EN": "Drama", "zh_CN": "剧", "fr": ""})
	paths := make([]string, 0, len(broken))
	for _, b := range broken {
		paths = append(paths, b.Path)
	}
	assert.ElementsMatch(t, []string{`genre.display_names["en"]`, `genre.display_names["zh_CN"]`, `genre.display_names["fr"]`}, paths)
	assert.Less(t, len(At("x", strings.Repeat("é", 1_000_000))), 300)
}

func TestFind(t *testing.T) {
	key, ok := Find(map[string]int{"zh-Hant": 1}, "ZH-hant")
	assert.True(t, ok)
	assert.Equal(t, "zh-Hant", key)
	_, ok = Find(map[string]int{"zh-Hant": 1}, "zh")
	assert.False(t, ok)
}

// Whatever x/text takes as registered is well-formed for us too, but for underscores.
func FuzzWellFormed(f *testing.F) {
	for _, s := range []string{"en", "zh-Hant-HK", "x-a", "i-klingon", "en_US", "de-1901-1901"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ok := WellFormed(s)
		if _, err := language.Parse(s); err == nil && !strings.Contains(s, "_") && len(s) <= MaxTag && !ok {
			t.Fatalf("%q is registered but not well-formed", s)
		}
		Title(s)
		Body(s)
		At("p", s)
	})
}
