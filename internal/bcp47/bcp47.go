// Package bcp47 matches language tags: which of the texts there are suits a viewer best.
//
// Tags are taken as they come. The catalogue asks for well-formed syntax and checks no
// registry, so "cn" and "xx" occur; what is not known has no script and matches itself.
//
// Rejected: language.Matcher of x/text. It knows only registered tags, and it answers with
// some language even where none is understood; the film's own default is the better answer.
package bcp47

import (
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/text/language"
)

// Tag is a parsed language tag.
type Tag struct {
	// Text is the tag as it was given.
	Text string

	exact  string // lower case
	base   string
	script string // as written, else the likely one; empty when unknown
	region string // as written, else the likely one; empty when unknown
	local  bool   // the region was written
}

var (
	cache  sync.Map // string → *Tag
	cached atomic.Int64
)

// maxCached bounds what strangers can make the cache hold.
const maxCached = 10_000

// Parse never fails: of a malformed tag it makes one that matches only itself.
func Parse(tag string) *Tag {
	if t, ok := cache.Load(tag); ok {
		return t.(*Tag)
	}
	t := parse(strings.Clone(tag))
	if len(tag) > 100 || cached.Load() >= maxCached {
		return t
	}
	if other, loaded := cache.LoadOrStore(t.Text, t); loaded {
		return other.(*Tag)
	}
	cached.Add(1)
	return t
}

// ParseAll parses tags in order.
func ParseAll(tags []string) []*Tag {
	if len(tags) == 0 {
		return nil
	}
	out := make([]*Tag, len(tags))
	for i, tag := range tags {
		out[i] = Parse(tag)
	}
	return out
}

func parse(text string) *Tag {
	t := &Tag{Text: text, exact: strings.ToLower(strings.ReplaceAll(text, "_", "-"))}
	subtags := strings.Split(t.exact, "-")
	t.base = subtags[0]
	for _, s := range subtags[1:] {
		if len(s) == 1 { // extensions and private use say nothing about script or region
			break
		}
		switch {
		case len(s) == 4 && s[0] > '9' && t.script == "":
			t.script = s
		case (len(s) == 2 || len(s) == 3 && s[0] <= '9') && !t.local:
			t.region, t.local = s, true
		}
	}
	guess(t)
	return t
}

// guess fills in script and region by CLDR's likely subtags, where the language is known.
func guess(t *Tag) {
	known := t.base
	if t.script != "" {
		known += "-" + t.script
	}
	if t.local {
		known += "-" + t.region
	}
	tag, err := language.Raw.Parse(known)
	if err != nil || len(t.exact) > 100 {
		return
	}
	if script, confidence := tag.Script(); t.script == "" && confidence != language.No {
		t.script = strings.ToLower(script.String())
	}
	if region, confidence := tag.Region(); t.region == "" && confidence != language.No {
		t.region = strings.ToLower(region.String())
	}
}

// The degrees to which a text suits a wish. Readers of one script of a language may know
// the other, so that is better than nothing, and worse than the next wish.
const (
	none = iota
	otherScript
	otherRegion
	anyRegion
	sameRegion
	same
)

func suits(wish, have *Tag) int {
	switch {
	case wish == have || wish.exact == have.exact:
		return same
	case wish.base != have.base:
		return none
	case wish.script != have.script:
		return otherScript
	case wish.region == have.region:
		return sameRegion
	case !have.local:
		return anyRegion
	}
	return otherRegion
}

// Match gives the index of the available tag that suits the wishes (best first) best, or −1.
// A wish is met by its language in its script, in its region if there is a choice; only
// when no wish is met so, the first that exists in another script is taken.
func Match(wishes, available []*Tag) int {
	second := -1
	for _, wish := range wishes {
		best, degree := -1, none
		for i, have := range available {
			if d := suits(wish, have); d > degree {
				best, degree = i, d
			}
		}
		if degree > otherScript {
			return best
		}
		if second < 0 {
			second = best
		}
	}
	return second
}

// Best is Match over texts: the best of the available tags, else fallback.
func Best(wishes, available []string, fallback string) string {
	if i := Match(ParseAll(wishes), ParseAll(available)); i >= 0 {
		return available[i]
	}
	return fallback
}
