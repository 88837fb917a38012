package rank

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/ledger"
	"github.com/aitheater/theater/internal/shelf"
	"github.com/aitheater/theater/internal/sqldb"
	"github.com/aitheater/theater/internal/theatertest"
)

// office is a ranker on a database, without its loop.
type office struct {
	*Service
	t   *testing.T
	now time.Time
}

func newOffice(t *testing.T, url string) *office {
	db, err := sqldb.Open(context.Background(), url)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	o := &office{t: t, now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	sh := shelf.New()
	shelve(t, sh, testFilms(o.now), nil)
	o.Service = New(db, nil, sh, nil, nil)
	return o
}

// take makes a new leader.
func (o *office) take() *leader {
	o.t.Helper()
	epoch, held, err := o.db.Lease(o.t.Context(), leaseName, o.holder, time.Hour)
	require.NoError(o.t, err)
	require.True(o.t, held)
	l, err := o.Service.take(o.t.Context(), Config{}.filled(), epoch)
	require.NoError(o.t, err)
	l.now = func() time.Time { return o.now }
	return l
}

func (o *office) record(events ...ledger.Event) {
	o.t.Helper()
	require.NoError(o.t, o.ledger.Append(o.t.Context(), events, nil))
}

func (o *office) follow(l *leader) {
	o.t.Helper()
	require.NoError(o.t, l.follow(o.t.Context()))
}

func (o *office) exec(query string, args ...any) {
	o.t.Helper()
	require.NoError(o.t, o.db.Write(o.t.Context(), func(tx *sqldb.Tx) error { _, err := tx.Exec(query, args...); return err }))
}

// counts are a film's counted events in the world, and the seconds watched.
func (l *leader) counts(film string) (counts [nKinds]uint32, seconds float64) {
	id := l.state.film("films/" + film)
	c := l.state.markets[0].rows[l.state.rowOf(l.state.markets[0], id)]
	for _, d := range c.days {
		seconds += d.seconds
	}
	return c.counts, seconds
}

// days is an event of each kind that has keys on each recent day.
func (o *office) days(viewer string, seconds float64) (events []ledger.Event) {
	for i := range recentDays {
		at := o.now.Add(-time.Duration(i) * day)
		for _, kind := range []pb.Event_Kind{pb.Event_PLAY, pb.Event_COMPLETE, pb.Event_SHARE} {
			events = append(events, event("a", viewer, "US", kind, seconds, at))
		}
	}
	return events
}

// A new leader knows what was counted on recent days without reading those days' events.
func TestNewLeaderReadsNoEventTwice(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		o := newOffice(t, url)
		old := o.take()
		o.record(o.days("v", 60)...)
		o.follow(old)
		require.NoError(t, old.checkpoint(t.Context()))
		o.record(o.days("w", 60)...) // added to what is stored
		o.follow(old)
		require.NoError(t, old.checkpoint(t.Context()))
		wasCounts, wasSeconds := old.counts("a")
		require.EqualValues(t, 2*recentDays, wasCounts[pb.Event_SHARE])

		o.exec("UPDATE ledger_events SET film = 'films/b'") // whoever reads them again will see something else
		o.record(append(o.days("v", 60), o.days("w", 50)...)...)
		fresh := o.take()
		o.follow(fresh)
		counts, seconds := fresh.counts("a")
		assert.Equal(t, wasCounts, counts)
		assert.Equal(t, wasSeconds, seconds)
		o.record(o.days("w", 70)...) // longer plays
		o.follow(fresh)
		counts, seconds = fresh.counts("a")
		assert.Equal(t, wasCounts, counts)
		assert.Equal(t, wasSeconds+10*recentDays, seconds)
	})
}

// Keys that cannot be read are gathered from the ledger; those of a checkpoint that did not come
// to its end are not looked at.
func TestUnreadableKeysAreGatheredAgain(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		o := newOffice(t, url)
		old := o.take()
		o.record(o.days("v", 60)...)
		o.follow(old)
		require.NoError(t, old.checkpoint(t.Context()))
		want, _ := old.counts("a")

		unfinished := &draft{leader: old, next: old.stored}
		w := newSegmentWriter(func(body []byte) error {
			return unfinished.add(t.Context(), segment{keys: true, day: ledger.DayOf(o.now.UnixMicro()), body: body})
		})
		e := event("a", "x", "US", pb.Event_SHARE, 0, o.now)
		w.seen("US", old.state.dayKey(&e.Viewer, old.state.film(e.Film), e.Kind))
		w.end()
		require.NoError(t, unfinished.flush(t.Context(), func(*sqldb.Tx) error { return nil }))
		o.record(e)
		second := o.take()
		o.follow(second)
		want[pb.Event_SHARE]++
		counts, _ := second.counts("a")
		require.Equal(t, want, counts)
		require.NoError(t, second.checkpoint(t.Context()))

		o.exec("UPDATE rank_keys SET body = $1", []byte("Sxx"))
		o.record(append(o.days("v", 60), e)...)
		third := o.take()
		o.follow(third)
		counts, _ = third.counts("a")
		require.Equal(t, want, counts)
		require.NoError(t, third.checkpoint(t.Context()))
		fourth := o.take()
		o.follow(fourth)
		counts, _ = fourth.counts("a")
		require.Equal(t, want, counts)
		require.Len(t, fourth.state.saved, len(third.state.saved))
	})
}

// Only the days that events come from and windows begin in are stored.
func TestKeysOfPastDaysAreDropped(t *testing.T) {
	o := newOffice(t, theatertest.SQLite(t))
	l := o.take()
	stored := func() (n int) {
		require.NoError(t, o.db.Read(t.Context(), func(tx *sqldb.Tx) error {
			return tx.QueryRow("SELECT COUNT(DISTINCT day) FROM rank_keys").Scan(&n)
		}))
		return n
	}
	o.record(append(o.days("v", 60), event("a", "v", "US", pb.Event_SHARE, 0, o.now.Add(-30*day)))...)
	o.follow(l)
	require.NoError(t, l.checkpoint(t.Context()))
	assert.Equal(t, recentDays, stored())
	o.now = o.now.Add(5 * day) // the built-in window is 7 days
	o.record(event("a", "v", "US", pb.Event_SHARE, 0, o.now))
	o.follow(l)
	require.NoError(t, l.checkpoint(t.Context()))
	assert.Equal(t, 4, stored(), "two days went, one came")
}

// What a purge renamed is nowhere under its old name after an hour, and counts once all the time.
func TestPurgedViewersLeaveTheCheckpoint(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		o := newOffice(t, url)
		l := o.take()
		o.record(append(o.days("v", 60), event("b", "v", "US", pb.Event_RATE, 4, o.now))...)
		o.follow(l)
		require.NoError(t, l.checkpoint(t.Context()))
		viewer := event("a", "v", "US", pb.Event_PLAY, 0, o.now).Viewer
		half := viewer[:8] // into which nothing is mixed
		holds := func() (n int) {
			require.NoError(t, o.db.Read(t.Context(), func(tx *sqldb.Tx) error {
				for _, table := range []string{"rank_segments", "rank_keys"} {
					rows, err := tx.Query("SELECT body FROM " + table)
					if err != nil {
						return err
					}
					if err := eachBody(rows, func(body []byte) error { n += bytes.Count(body, half); return nil }); err != nil {
						return err
					}
				}
				return nil
			}))
			return n
		}
		require.NotZero(t, holds())
		_, err := o.ledger.Purge(t.Context(), []ledger.Viewer{viewer}, func(*sqldb.Tx, int64) error { return nil })
		require.NoError(t, err)
		fresh := o.take() // to whom no day is in memory
		o.follow(fresh)
		require.NoError(t, fresh.checkpoint(t.Context()))
		for i := range 2 { // the same person comes back twice, as somebody new
			require.False(t, fresh.outlived(&fresh.stored))
			o.record(o.days("v", 60)...)
			fresh = o.take()
			o.follow(fresh)
			counts, seconds := fresh.counts("a")
			require.EqualValues(t, (i+2)*recentDays, counts[pb.Event_SHARE])
			require.EqualValues(t, (i+2)*recentDays*60, seconds)
			require.NoError(t, fresh.checkpoint(t.Context()))
			_, err := o.ledger.Purge(t.Context(), []ledger.Viewer{viewer}, func(*sqldb.Tx, int64) error { return nil })
			require.NoError(t, err)
			o.follow(fresh)
			require.NoError(t, fresh.checkpoint(t.Context()))
		}
		o.now = o.now.Add(61 * time.Minute)
		fresh = o.take()
		o.follow(fresh)
		require.True(t, fresh.outlived(&fresh.stored))
		require.NoError(t, fresh.checkpoint(t.Context()))
		require.False(t, fresh.outlived(&fresh.stored))
		require.Zero(t, holds())
		o.record(o.days("w", 60)...)
		last := o.take()
		o.follow(last)
		counts, _ := last.counts("a")
		require.EqualValues(t, 4*recentDays, counts[pb.Event_SHARE])
	})
}

// A day may be longer than a segment.
func TestDaysOfManySegments(t *testing.T) {
	o := newOffice(t, theatertest.SQLite(t))
	l := o.take()
	l.state.advance(o.now.UnixMicro())
	d, today := newDayKeys(), ledger.DayOf(o.now.UnixMicro())
	l.state.days[today] = d
	for i := range 150_000 {
		e := event("a", fmt.Sprint(i), "US", pb.Event_PLAY, float64(i), o.now)
		if i%2 == 0 {
			e.Kind = pb.Event_SHARE
		}
		l.state.seeOn(d, &e)
	}
	require.NoError(t, l.checkpoint(t.Context()))
	fresh := o.take()
	got, err := fresh.day(t.Context(), fresh.state, today)
	require.NoError(t, err)
	us, them := d.markets[l.state.market("US")], got.markets[fresh.state.market("US")]
	require.Equal(t, us.seen, them.seen)
	require.Equal(t, us.plays, them.plays)
	require.Equal(t, d.size, got.size)
}
