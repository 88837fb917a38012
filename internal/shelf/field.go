package shelf

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unique"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/disclosure"
)

// field is what a filter may name.
type field struct {
	// present is "field:*".
	present predicate
	// compile makes a predicate, or says which rule the comparison breaks.
	compile func(op string, v literal) (match predicate, rule string)
}

var fields = map[string]field{
	"name":                enter(func(e *Entry) (string, bool) { return e.Name, true }, text),
	"state":               enum(func(e *Entry) int32 { return int32(e.State) }, pb.Film_State_value, false),
	"form":                enum(func(e *Entry) int32 { return int32(e.Form) }, pb.Film_Form_value, false),
	"content_type":        enum(func(e *Entry) int32 { return int32(e.ContentType) }, pb.Film_ContentType_value, false),
	"age_band":            enum(func(e *Entry) int32 { return int32(e.AgeBand) }, pb.Film_AgeBand_value, true),
	"minors_review":       review(),
	"genres":              list(genreList),
	"tags":                list(tagList),
	"countries":           list(originList),
	"languages":           list(spokenList),
	"tool":                list(toolList),
	"licensor":            list(licensorList),
	"markets":             markets(),
	"digital_source_type": sourceType(),
	"title":               title(),
	"runtime":             enter(func(e *Entry) (float64, bool) { return e.Runtime, e.Runtime != 0 }, seconds),
	"release_date":        enter(func(e *Entry) (int64, bool) { return int64(e.release), e.release != 0 }, date),
	"create_time":         enter(func(e *Entry) (int64, bool) { return e.created, e.created != 0 }, instant),
	"update_time":         enter(func(e *Entry) (int64, bool) { return e.updated, e.updated != 0 }, instant),
	"delete_time":         enter(func(e *Entry) (int64, bool) { return e.deleted, e.Deleted }, instant),
	"first_publish_time":  enter(func(e *Entry) (int64, bool) { return e.FirstPublish, e.FirstPublish != 0 }, instant),
	"available_time":      scalar(availableTime, instant),
	"available_until":     availableUntil(),
	"rating_count":        scalar(func(s *Snapshot, e *Entry, _ moment) (float64, bool) { return ratingCount(s, e), true }, number),
	"rating_average":      scalar(ratingAverage, number),
}

var fieldNames = strings.Join(slices.Sorted(maps.Keys(fields)), ", ")

func ratingCount(s *Snapshot, e *Entry) float64 { return float64(s.Stats(e.Slot).GetRatingCount()) }

func ratingAverage(s *Snapshot, e *Entry, _ moment) (float64, bool) {
	st := s.Stats(e.Slot)
	return st.GetRatingAverage(), st.GetRatingCount() > 0
}

// enter is a scalar that only the entry decides.
func enter[T cmp.Ordered](get func(*Entry) (T, bool), parse func(literal) (T, string)) field {
	return scalar(func(_ *Snapshot, e *Entry, _ moment) (T, bool) { return get(e) }, parse)
}

// scalar is a field with at most one value, which all comparisons are defined for; ":" is "=".
func scalar[T cmp.Ordered](get func(*Snapshot, *Entry, moment) (T, bool), parse func(literal) (T, string)) field {
	return field{
		present: func(s *Snapshot, e *Entry, at moment) bool { _, ok := get(s, e, at); return ok },
		compile: func(op string, v literal) (predicate, string) {
			want, rule := parse(v)
			if rule != "" {
				return nil, rule
			}
			holds := comparison(op, want)
			return func(s *Snapshot, e *Entry, at moment) bool {
				have, ok := get(s, e, at)
				return ok && holds(have)
			}, ""
		},
	}
}

func comparison[T cmp.Ordered](op string, want T) func(T) bool {
	switch op {
	case "!=":
		return func(have T) bool { return have != want }
	case "<":
		return func(have T) bool { return have < want }
	case "<=":
		return func(have T) bool { return have <= want }
	case ">":
		return func(have T) bool { return have > want }
	case ">=":
		return func(have T) bool { return have >= want }
	default: // "=" and ":"
		return func(have T) bool { return have == want }
	}
}

func enum(get func(*Entry) int32, values map[string]int32, ordered bool) field {
	var names []string
	for name, value := range values {
		if value != 0 {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Compare(values[a], values[b]) })
	one := scalar(func(_ *Snapshot, e *Entry, _ moment) (int32, bool) { v := get(e); return v, v != 0 }, func(v literal) (int32, string) {
		if value := values[v.text]; value != 0 && v.kind == isText {
			return value, ""
		}
		return 0, "is one of " + strings.Join(names, ", ") + " (or ask NOT for \"field:*\")"
	})
	if ordered {
		return one
	}
	return field{present: one.present, compile: func(op string, v literal) (predicate, string) {
		if strings.ContainsAny(op, "<>") {
			return nil, "has no order; compare with = or !="
		}
		return one.compile(op, v)
	}}
}

// review compares the band a film was cleared for; it is present when there is a review.
func review() field {
	f := enum(func(e *Entry) int32 { return int32(e.review) }, pb.Film_AgeBand_value, true)
	f.present = func(_ *Snapshot, e *Entry, _ moment) bool { return e.reviewed }
	return f
}

const onlyHas = `is a list; ask with ":" whether it holds a value, with NOT whether it does not`

func list(which int) field {
	return field{
		present: func(_ *Snapshot, e *Entry, _ moment) bool { return len(e.list(which)) > 0 },
		compile: func(op string, v literal) (predicate, string) {
			if op != ":" && op != "=" {
				return nil, onlyHas
			}
			want := unique.Make(v.text)
			return func(_ *Snapshot, e *Entry, _ moment) bool { return slices.Contains(e.list(which), want) }, ""
		},
	}
}

// markets are those a window names at any time; a window for everywhere names all.
func markets() field {
	return field{
		present: func(_ *Snapshot, e *Entry, _ moment) bool { return e.window != none },
		compile: func(op string, v literal) (predicate, string) {
			m := countryOf(v.text)
			switch {
			case op != ":" && op != "=":
				return nil, onlyHas
			case m == 0:
				return nil, `holds ISO 3166-1 alpha-2 codes, for example "US"`
			}
			return func(_ *Snapshot, e *Entry, _ moment) bool {
				if e.window == none {
					return false
				}
				for w := range e.windows {
					if w.markets.has(m) {
						return true
					}
				}
				return false
			}, ""
		},
	}
}

// sourceType takes IPTC's address, http or https, or its last part.
func sourceType() field {
	return enter(func(e *Entry) (string, bool) { v := e.source.Value(); return v, v != "" }, func(v literal) (string, string) {
		if v.kind == isText && v.text != "" && !strings.Contains(v.text, "/") {
			return disclosure.SourceTypeBase + v.text, ""
		}
		return disclosure.NormalizeSourceType(v.text), ""
	})
}

// title compares without regard to case, in any language: ":" a part, "=" the whole.
func title() field {
	return field{
		present: func(_ *Snapshot, e *Entry, _ moment) bool { return len(e.languages) > 0 },
		compile: func(op string, v literal) (predicate, string) {
			want := fold(v.text)
			whole := "\x00" + want + "\x00"
			switch {
			case strings.Contains(want, "\x00"):
				return nil, "holds no control characters"
			case op == ":":
				return func(_ *Snapshot, e *Entry, _ moment) bool {
					return len(e.languages) > 0 && strings.Contains(e.titles, want)
				}, ""
			case op == "=":
				return func(_ *Snapshot, e *Entry, _ moment) bool {
					return strings.Contains(e.titles, whole)
				}, ""
			}
			return nil, `has no order; ask with ":" for a part, with "=" for the whole, in any language`
		},
	}
}

func availableTime(_ *Snapshot, e *Entry, at moment) (int64, bool) {
	if e.playing(at.market, at.now) {
		return 0, false
	}
	start := e.startsAt(at.market, at.now)
	return start, start != never
}

// playing reports whether a window is open now, to a market or (0) to any.
func (e *Entry) playing(m country, now int64) bool {
	for w := range e.windows {
		if w.start <= now && now < w.end && (m == 0 || w.markets.has(m)) {
			return true
		}
	}
	return false
}

// availableUntil is the end of what plays now. Without a market, the end of each open window
// counts, and that of all of them joined: a film that leaves one market soon is found although
// it stays in others.
func availableUntil() field {
	until := func(end int64, holds func(int64) bool) bool { return end != never && holds(end) }
	any := func(e *Entry, at moment, holds func(int64) bool) bool {
		if !e.playing(at.market, at.now) {
			return false
		}
		if until(e.playsUntil(at.market, at.now), holds) {
			return true
		}
		for w := range e.windows {
			if at.market == 0 && w.start <= at.now && at.now < w.end && until(w.end, holds) {
				return true
			}
		}
		return false
	}
	return field{
		present: func(_ *Snapshot, e *Entry, at moment) bool { return any(e, at, func(int64) bool { return true }) },
		compile: func(op string, v literal) (predicate, string) {
			want, rule := instant(v)
			if rule != "" {
				return nil, rule
			}
			holds := comparison(op, want)
			return func(_ *Snapshot, e *Entry, at moment) bool { return any(e, at, holds) }, ""
		},
	}
}

func text(v literal) (string, string) { return v.text, "" }

func number(v literal) (float64, string) {
	if v.kind == isText {
		n, err := strconv.ParseFloat(v.text, 64)
		if err != nil || math.IsNaN(n) {
			return 0, "is a number"
		}
		return n, ""
	}
	return v.number, ""
}

func seconds(v literal) (float64, string) {
	if v.kind == isText {
		if digits, ok := strings.CutSuffix(v.text, "s"); ok {
			if n, err := strconv.ParseFloat(digits, 64); err == nil && !math.IsNaN(n) {
				return n, ""
			}
		}
		if d, err := time.ParseDuration(v.text); err == nil {
			return d.Seconds(), ""
		}
	}
	return 0, "is a duration in seconds, for example 7200s"
}

// instant reads a time, or the first moment of a partial date, in microseconds.
func instant(v literal) (int64, string) {
	if t, err := time.Parse(time.RFC3339, v.text); err == nil {
		return t.UnixMicro(), ""
	}
	if t, ok := partialDate(v.text); ok {
		return t.UnixMicro(), ""
	}
	return 0, `is a time in quotes, for example "2026-05-01T00:00:00Z" or "2026-05-01"`
}

// date reads a date of which later parts may be missing: they count as the first.
func date(v literal) (int64, string) {
	t, ok := partialDate(v.text)
	if !ok {
		return 0, `is a date in quotes, for example "2026-05-01", "2026-05" or "2026"`
	}
	return int64(t.Year()*10000 + int(t.Month())*100 + t.Day()), ""
}

func partialDate(text string) (time.Time, bool) {
	for _, layout := range []string{time.DateOnly, "2006-01", "2006"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

func formatInt(n int64) string     { return strconv.FormatInt(n, 10) }
func formatFloat(n float64) string { return strconv.FormatFloat(n, 'g', -1, 64) }
