package rank

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/ledger"
)

// sampleNeeds are of charts that keep something of everything.
func sampleNeeds() needs { return needsOf(testCharts()) }

// sampleState is a small state with every kind of record in it.
func sampleState() *state {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	s := newState(sampleNeeds())
	s.advance(now.UnixMicro())
	child := event("a", "child", "GB", pb.Event_PLAY, 60, now)
	child.Audience = pb.Viewer_KIDS
	events := []ledger.Event{
		event("a", "v", "US", pb.Event_PLAY, 600, now.Add(-day)), event("a", "v", "US", pb.Event_LIKE, 0, now), event("a", "v", "US", pb.Event_UNLIKE, 0, now),
		event("b", "v", "US", pb.Event_RATE, 4.5, now), event("b", "w", "GB", pb.Event_SHARE, 0, now), event("b", "w", "GB", pb.Event_PLAY, 5, now.Add(time.Minute)), child,
	}
	for i := range events {
		s.days[events[i].Day] = newDayKeys()
	}
	s.fold(&ledger.Batch{Events: events, Through: int64(len(events))})
	return s
}

// segments are what a state writes.
func segments(s *state, all bool) (bodies [][]byte) {
	s.write(newSegmentWriter(func(body []byte) error { bodies = append(bodies, body); return nil }), all)
	return bodies
}

// FuzzSegment feeds any bytes to a state. Nothing may panic, also later; what is read is written
// and read again.
func FuzzSegment(f *testing.F) {
	s := sampleState()
	s.purged = []ledger.Purge{{Old: ledger.Viewer{1}, New: ledger.Viewer{2}}}
	for _, all := range []bool{true, false} {
		for _, body := range segments(s, all) {
			f.Add(body)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s := newState(sampleNeeds())
		if err := s.read(data); err != nil {
			require.ErrorIs(t, err, errSegment)
			return
		}
		again := newState(sampleNeeds())
		for _, body := range segments(s, true) {
			require.NoError(t, again.read(body))
		}
		require.Equal(t, len(s.markets), len(again.markets))
		for i, m := range s.markets {
			other := again.markets[again.marketID[m.name]]
			require.Len(t, other.rows, len(m.rows), i)
			require.Len(t, other.ratings, len(m.ratings))
			require.Len(t, other.likes, len(m.likes))
		}
		require.Len(t, again.waiting, len(s.waiting))
		s.advance(time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro())
	})
}

// FuzzKeys feeds any bytes to a day's keys, like FuzzSegment.
func FuzzKeys(f *testing.F) {
	s := sampleState()
	for _, d := range s.days {
		for body := range d.segments(s) {
			f.Add(body)
		}
	}
	l := newKeyLog()
	l.rename(renames{1: {Old: ledger.Viewer{1}, New: ledger.Viewer{2}}})
	l.w.seen("US", viewerKey{1, 2})
	for body := range l.segments() {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s := newState(sampleNeeds())
		r := &keyReader{state: s, day: newDayKeys(), by: renames{}}
		if err := r.read(data); err != nil {
			require.ErrorIs(t, err, errSegment)
			return
		}
		again := &keyReader{state: s, day: newDayKeys(), by: renames{}}
		for body := range r.day.segments(s) {
			require.NoError(t, again.read(body))
		}
		for id, m := range r.day.markets {
			if len(m.seen)+len(m.plays) == 0 {
				continue
			}
			require.Equal(t, m.seen, again.day.markets[id].seen)
			require.Len(t, again.day.markets[id].plays, len(m.plays))
		}
	})
}
