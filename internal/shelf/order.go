package shelf

import (
	"cmp"
	"maps"
	"math"
	"runtime"
	"slices"
	"strings"
	"time"

	"go.einride.tech/aip/ordering"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
)

// Order is a compiled order_by; ties go by name.
type Order struct{ keys []sortKey }

// sortKey is one field of an order: a number, or a text.
type sortKey struct {
	number func(s *Snapshot, e *Entry, at moment) (float64, bool)
	text   func(e *Entry) string
	desc   bool
}

const maxOrderFields = 8

var orderFields = map[string]sortKey{
	"name":         {text: func(e *Entry) string { return e.Name }},
	"title":        {text: func(e *Entry) string { return e.title }},
	"runtime":      {number: func(_ *Snapshot, e *Entry, _ moment) (float64, bool) { return e.Runtime, e.Runtime != 0 }},
	"release_date": {number: func(_ *Snapshot, e *Entry, _ moment) (float64, bool) { return float64(e.release), e.release != 0 }},
	"create_time":  {number: func(_ *Snapshot, e *Entry, _ moment) (float64, bool) { return float64(e.created), e.created != 0 }},
	"update_time":  {number: func(_ *Snapshot, e *Entry, _ moment) (float64, bool) { return float64(e.updated), e.updated != 0 }},
	"first_publish_time": {number: func(_ *Snapshot, e *Entry, _ moment) (float64, bool) {
		return float64(e.FirstPublish), e.FirstPublish != 0
	}},
	"age_band": {number: func(_ *Snapshot, e *Entry, _ moment) (float64, bool) { return float64(e.AgeBand), e.AgeBand != 0 }},
	"available_time": {number: func(s *Snapshot, e *Entry, at moment) (float64, bool) {
		t, ok := availableTime(s, e, at)
		return float64(t), ok
	}},
	"available_until": {number: func(_ *Snapshot, e *Entry, at moment) (float64, bool) {
		end := e.playsUntil(at.market, at.now)
		return float64(end), end != at.now && end != never
	}},
	"rating_count":   {number: func(s *Snapshot, e *Entry, _ moment) (float64, bool) { return ratingCount(s, e), true }},
	"rating_average": {number: ratingAverage},
}

// CompileOrder parses and checks an order_by; errors are faults with reason INVALID_ORDER_BY.
// Films in which a field is unset come last, whichever the direction. Empty = by name.
func CompileOrder(source string) (*Order, error) {
	var parsed ordering.OrderBy
	if len(source) > maxFilterBytes {
		return nil, badOrder("is longer than %d bytes", maxFilterBytes)
	}
	if err := parsed.UnmarshalString(source); err != nil {
		return nil, badOrder(`is a list such as "release_date desc, name"`)
	}
	if len(parsed.Fields) > maxOrderFields {
		return nil, badOrder("has more than %d fields", maxOrderFields)
	}
	o := &Order{}
	for _, f := range parsed.Fields {
		key, ok := orderFields[f.Path]
		if !ok {
			return nil, badOrder("has no field %q; there are %s", f.Path, strings.Join(slices.Sorted(maps.Keys(orderFields)), ", "))
		}
		key.desc = f.Desc
		o.keys = append(o.keys, key)
	}
	return o, nil
}

func badOrder(format string, args ...any) error {
	e := fault.Invalid("order_by", format, args...)
	e.Reason = pb.ErrorReason_INVALID_ORDER_BY
	return e
}

// courtesy is how many films Select looks at before it lets others go first: without it, each
// page a viewer asks for waits 10 ms behind every list that is being filtered.
const courtesy = 1024

// Select gives the slots of the films that match, in order; deleted ones only if asked. A nil
// filter matches all, a nil order is by name.
func (s *Snapshot) Select(f *Filter, o *Order, now time.Time, deleted bool) []uint32 {
	at := moment{now: now.UnixMicro()}
	var out []uint32
	for i, slot := range s.shelf.slotsByName(s) {
		if i%courtesy == courtesy-1 {
			runtime.Gosched()
		}
		e := s.At(slot)
		if e == nil || e.Deleted && !deleted || f != nil && !f.match(s, e, at) {
			continue
		}
		out = append(out, slot)
	}
	if o != nil && len(o.keys) > 0 {
		s.sort(out, o.keys, at)
	}
	return out
}

// place is a film being sorted: its first key, and its place by name to break ties.
type place struct {
	key  float64
	slot uint32
	tie  int32
}

// sort orders slots, which come by name.
func (s *Snapshot) sort(slots []uint32, keys []sortKey, at moment) {
	places := make([]place, len(slots))
	for i, slot := range slots {
		places[i] = place{s.key(keys[0], slot, at), slot, int32(i)}
	}
	if first := keys[0]; len(keys) == 1 && first.text == nil {
		slices.SortFunc(places, byKey)
	} else {
		s.sortPlaces(places, keys, at)
	}
	for i, p := range places {
		slots[i] = p.slot
	}
}

// byKey is the usual order, by one number: most lists are sorted so, and this takes half the
// time of sortPlaces.
func byKey(a, b place) int {
	switch {
	case a.key < b.key:
		return -1
	case a.key > b.key:
		return 1
	}
	return cmp.Compare(a.tie, b.tie)
}

// sortPlaces sorts by any keys.
func (s *Snapshot) sortPlaces(places []place, keys []sortKey, at moment) {
	slices.SortFunc(places, func(a, b place) int {
		if a.key != b.key {
			return cmp.Compare(a.key, b.key)
		}
		for i, k := range keys {
			if i == 0 && k.text == nil {
				continue // compared above
			}
			c := 0
			if k.text != nil {
				c = s.compareText(k, a.slot, b.slot)
			} else {
				c = cmp.Compare(s.key(k, a.slot, at), s.key(k, b.slot, at))
			}
			if c != 0 {
				return c
			}
		}
		return cmp.Compare(a.tie, b.tie)
	})
}

// key is a number that sorts in the key's direction, unset last; 0 for texts.
func (s *Snapshot) key(k sortKey, slot uint32, at moment) float64 {
	if k.number == nil {
		return 0
	}
	n, ok := k.number(s, s.At(slot), at)
	switch {
	case !ok:
		return math.Inf(1)
	case k.desc:
		return -n
	}
	return n
}

func (s *Snapshot) compareText(k sortKey, a, b uint32) int {
	c := strings.Compare(k.text(s.At(a)), k.text(s.At(b)))
	if k.desc {
		return -c
	}
	return c
}

// slotsByName gives all slots of the snapshot by name, and perhaps newer ones. Names never
// change, so only slots that came since the last time are sorted and merged in.
func (s *Shelf) slotsByName(snap *Snapshot) []uint32 {
	if order := *s.order.Load(); len(order) >= int(snap.slots) {
		return order
	}
	s.sorting.Lock()
	defer s.sorting.Unlock()
	order := *s.order.Load()
	if len(order) >= int(snap.slots) {
		return order
	}
	name := func(slot uint32) string { return s.index.cell(slot).name }
	fresh := make([]uint32, 0, int(snap.slots)-len(order))
	for slot := uint32(len(order)); slot < snap.slots; slot++ {
		fresh = append(fresh, slot)
	}
	slices.SortFunc(fresh, func(a, b uint32) int { return strings.Compare(name(a), name(b)) })
	merged := make([]uint32, 0, snap.slots)
	for len(order) > 0 && len(fresh) > 0 {
		if name(order[0]) < name(fresh[0]) {
			merged, order = append(merged, order[0]), order[1:]
		} else {
			merged, fresh = append(merged, fresh[0]), fresh[1:]
		}
	}
	merged = append(append(merged, order...), fresh...)
	s.order.Store(&merged)
	return merged
}
