// Package texts holds the rules for what people write and read: language tags, titles,
// longer texts, and maps of them by language. Films, genres, charts and sections obey the
// same ones. Nothing is trimmed, normalised or otherwise altered; a text is kept or refused.
//
// Why not golang.org/x/text/language for tags: it checks the registry and takes underscores,
// whereas tags such as "cn" and "xx" occur in real catalogues and must be kept, and "en_US"
// is not BCP-47.
package texts

import (
	"fmt"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/aitheater/theater/internal/fault"
)

// Limits, in code points but for MaxTag, which is in bytes.
const (
	MaxTitle = 1000
	MaxBody  = 10000
	MaxTag   = 100
)

// tag is Language-Tag of RFC 5646, section 2.1: langtag, privateuse, or one of the irregular
// grandfathered tags (the regular ones match langtag).
var tag = regexp.MustCompile(`(?i)^(?:` +
	`(?:[a-z]{2,3}(?:-[a-z]{3}){0,3}|[a-z]{4,8})` + // language and extlang
	`(?:-[a-z]{4})?` + // script
	`(?:-(?:[a-z]{2}|[0-9]{3}))?` + // region
	`(?:-(?:[a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*` + // variants
	`(?:-[0-9a-wy-z](?:-[a-z0-9]{2,8})+)*` + // extensions
	`(?:-x(?:-[a-z0-9]{1,8})+)?` + // private use
	`|x(?:-[a-z0-9]{1,8})+` +
	`|en-gb-oed|i-(?:ami|bnn|default|enochian|hak|klingon|lux|mingo|navajo|pwn|tao|tay|tsu)|sgn-(?:be-fr|be-nl|ch-de)` +
	`)$`)

// WellFormed reports whether s is a language tag by the syntax of BCP-47, whether or not its
// parts are registered.
func WellFormed(s string) bool { return len(s) <= MaxTag && tag.MatchString(s) }

// Title gives the rule a title, name or other single line breaks, or "".
func Title(s string) string {
	switch n := utf8.RuneCountInString(s); {
	case n == 0:
		return "must not be empty"
	case n > MaxTitle:
		return fmt.Sprintf("must have at most %d code points, has %d", MaxTitle, n)
	}
	blank := true
	for i, r := range s {
		if unicode.IsControl(r) {
			return fmt.Sprintf("must not contain control characters, has %U at byte %d", r, i)
		}
		blank = blank && unicode.IsSpace(r)
	}
	if blank {
		return "must not be only white space"
	}
	return ""
}

// Body gives the rule a longer text breaks, or "". It may be empty; newline and tab are allowed.
func Body(s string) string {
	if n := utf8.RuneCountInString(s); n > MaxBody {
		return fmt.Sprintf("must have at most %d code points, has %d", MaxBody, n)
	}
	for i, r := range s {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return fmt.Sprintf("must not contain control characters but newline and tab, has %U at byte %d", r, i)
		}
	}
	return ""
}

// At is the path of a map's entry as protovalidate writes it: path["key"], the key shortened
// when it is too long to be of use.
func At(path, key string) string {
	if len(key) > MaxTag {
		key = strings.ToValidUTF8(key[:MaxTag], "") + "…"
	}
	return path + "[" + strconv.Quote(key) + "]"
}

// Keys gives the keys of a map by language in order, with the rules they break: each must be
// well-formed, and no two may be equal but for case.
func Keys[V any](path string, byLanguage map[string]V) (keys []string, broken []fault.Field) {
	seen := make(map[string]string, len(byLanguage))
	for key := range byLanguage {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	for _, key := range keys {
		if !WellFormed(key) {
			broken = append(broken, fault.Field{Path: At(path, key), Rule: "the key must be a well-formed BCP-47 language tag"})
			continue
		}
		folded := strings.ToLower(key)
		if other, ok := seen[folded]; ok {
			broken = append(broken, fault.Field{Path: At(path, key), Rule: fmt.Sprintf("the key must differ from %q by more than case", other)})
		}
		seen[folded] = key
	}
	return keys, broken
}

// Titles gives the rules broken by a map from language to title.
func Titles(path string, byLanguage map[string]string) []fault.Field {
	keys, broken := Keys(path, byLanguage)
	for _, key := range keys {
		if rule := Title(byLanguage[key]); rule != "" {
			broken = append(broken, fault.Field{Path: At(path, key), Rule: rule})
		}
	}
	return broken
}

// Tags gives the rules broken by a list of language tags.
func Tags(path string, tags []string) []fault.Field {
	var broken []fault.Field
	for i, s := range tags {
		if !WellFormed(s) {
			broken = append(broken, fault.Field{Path: fmt.Sprintf("%s[%d]", path, i), Rule: "must be a well-formed BCP-47 language tag"})
		}
	}
	return broken
}

// Find gives the key of a map by language that equals tag but for case.
func Find[V any](byLanguage map[string]V, tag string) (key string, ok bool) {
	if _, ok := byLanguage[tag]; ok {
		return tag, true
	}
	for key := range byLanguage {
		if strings.EqualFold(key, tag) {
			return key, true
		}
	}
	return "", false
}
