package shelf

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/aitheater/theater/api/theater/v1"
)

// Times are microseconds since 1970. Whoever asks for a time with a finer grain gets the
// microsecond it lies in; begins are rounded up and ends down, so that nothing shows early
// or late.
const (
	always = math.MinInt64
	never  = math.MaxInt64
)

// Forever is what the gate answers when a verdict holds until the film changes.
var Forever = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

// country is a market as a number, 1 to 676; 0 = not a market.
type country uint16

func countryOf(market string) country {
	if len(market) != 2 {
		return 0
	}
	a, b := market[0]-'A', market[1]-'A'
	if a > 25 || b > 25 {
		return 0
	}
	return country(a)*26 + country(b) + 1
}

// countries is a set of markets, shared between films; nil = everywhere.
type countries [11]uint64

func (c *countries) has(m country) bool { return c == nil || c[m>>6]&(1<<(m&63)) != 0 }

// window is one availability.
type window struct {
	markets              *countries
	announce, start, end int64 // announce = never: not before start
}

// none is never open.
var none = window{announce: never, start: never, end: always}

// windows are the film's, by start.
func (e *Entry) windows(yield func(*window) bool) {
	if !yield(&e.window) {
		return
	}
	for i := range e.more {
		if !yield(&e.more[i]) {
			return
		}
	}
}

var (
	sets    sync.Map // countries → *countries
	setsLen atomic.Int64
)

// share gives one copy for equal sets: most films name the same few.
func share(c countries) *countries {
	if known, ok := sets.Load(c); ok {
		return known.(*countries)
	}
	if setsLen.Load() > 1<<16 {
		return &c
	}
	known, loaded := sets.LoadOrStore(c, &c)
	if !loaded {
		setsLen.Add(1)
	}
	return known.(*countries)
}

func (e *Entry) setWindows(f *pb.Film) {
	out := make([]window, 0, len(f.GetAvailability()))
	for _, a := range f.GetAvailability() {
		w := window{announce: never, start: always, end: never}
		if len(a.GetMarkets()) > 0 {
			var c countries
			for _, m := range a.GetMarkets() {
				if id := countryOf(m); id != 0 {
					c[id>>6] |= 1 << (id & 63)
				}
			}
			w.markets = share(c)
		}
		if a.AnnounceTime != nil {
			w.announce = begin(a.AnnounceTime)
		}
		if a.StartTime != nil {
			w.start = begin(a.StartTime)
		}
		if a.EndTime != nil {
			w.end = micros(a.EndTime)
		}
		out = append(out, w)
	}
	slices.SortStableFunc(out, func(a, b window) int { return cmp.Compare(a.start, b.start) })
	e.window = none
	if len(out) > 0 {
		e.window = out[0]
	}
	if len(out) > 1 {
		e.more = out[1:]
	}
}

// micros is a timestamp, rounded down.
func micros(t *timestamppb.Timestamp) int64 {
	return t.GetSeconds()*1e6 + int64(t.GetNanos())/1000
}

// begin is a timestamp, rounded up.
func begin(t *timestamppb.Timestamp) int64 {
	if t.GetNanos()%1000 > 0 {
		return micros(t) + 1
	}
	return micros(t)
}

// FirstStart is the earliest window start for a market in microseconds since 1970; ok is
// false when no window is open to the market at any time. A window without start gives 0.
func (e *Entry) FirstStart(market string) (start int64, ok bool) {
	m := countryOf(market)
	if m == 0 {
		return 0, false
	}
	for w := range e.windows { // sorted by start
		if w.markets.has(m) && w.start < w.end {
			if w.start == always {
				return 0, true
			}
			return w.start, true
		}
	}
	return 0, false
}

// playsUntil is the end of the time without a gap in which the film, playing now, goes on
// playing in a market (0 = in any); never when it has no end.
func (e *Entry) playsUntil(m country, now int64) int64 {
	end := now
	for w := range e.windows { // sorted by start, so one pass joins them
		if w.start <= end && w.end > end && (m == 0 || w.markets.has(m)) {
			end = w.end
		}
	}
	return end
}

// startsAt is the earliest start of an announced window that has not begun, for a market
// (0 = any); never when there is none.
func (e *Entry) startsAt(m country, now int64) int64 {
	for w := range e.windows {
		if w.announce <= now && now < w.start && w.start < w.end && (m == 0 || w.markets.has(m)) {
			return w.start
		}
	}
	return never
}

// Markets are the markets that any film's availability names, in order.
func (s *Snapshot) Markets() []string {
	var all countries
	var last *countries
	for slot := range s.slots {
		e := s.At(slot)
		if e == nil || e.Deleted {
			continue
		}
		for w := range e.windows {
			if m := w.markets; m != nil && m != last {
				last = m
				for word := range all {
					all[word] |= m[word]
				}
			}
		}
	}
	var names []string
	for m := country(1); m <= 26*26; m++ {
		if all.has(m) {
			names = append(names, string([]byte{'A' + byte((m-1)/26), 'A' + byte((m-1)%26)}))
		}
	}
	return names
}
