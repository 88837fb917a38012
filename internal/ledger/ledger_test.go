package ledger_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/ledger"
	"github.com/aitheater/theater/internal/sqldb"
	"github.com/aitheater/theater/internal/theatertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, url string) (*ledger.Ledger, *sqldb.DB) {
	db, err := sqldb.Open(context.Background(), url)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	return ledger.New(db), db
}

func viewer(n int) (v ledger.Viewer) {
	binary.BigEndian.PutUint64(v[:], uint64(n))
	return v
}

// play is an event of a day, at noon.
func play(day int32, film string, who int) ledger.Event {
	return ledger.Event{Day: day, Kind: pb.Event_PLAY, Audience: pb.Viewer_ADULT, Viewer: viewer(who), Market: "US", Film: "films/" + film, Value: 60.5,
		Occur: int64(day)*ledger.MicrosPerDay + ledger.MicrosPerDay/2}
}

func TestDayOf(t *testing.T) {
	assert.EqualValues(t, 0, ledger.DayOf(0))
	assert.EqualValues(t, 0, ledger.DayOf(ledger.MicrosPerDay-1))
	assert.EqualValues(t, 1, ledger.DayOf(ledger.MicrosPerDay))
	assert.EqualValues(t, -1, ledger.DayOf(-1))
	assert.EqualValues(t, -1, ledger.DayOf(-ledger.MicrosPerDay))
	assert.EqualValues(t, ledger.DayOf(time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()), -719162)
}

func TestWhatIsAppendedIsReadInOrder(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		l, db := open(t, url)
		ctx := t.Context()
		in := []ledger.Event{play(20000, "a", 1), play(20001, "b", 2), play(20000, "a", 1)}
		in[1].Kind, in[1].Market, in[1].Audience, in[1].Value, in[1].Occur = pb.Event_RATE, "CN", pb.Viewer_KIDS, 4.5, -7
		require.NoError(t, l.Append(ctx, in, []string{"00-a-b-01", "00-c-d-01"}))
		require.NoError(t, l.Append(ctx, []ledger.Event{play(20001, "c", 3)}, nil))
		require.NoError(t, l.Append(ctx, nil, nil))
		for i := range in {
			assert.EqualValues(t, i+1, in[i].Seq)
			assert.InDelta(t, time.Now().UnixMicro(), in[i].Receipt, 60e6)
		}
		head, err := l.Head(ctx)
		require.NoError(t, err)
		assert.EqualValues(t, 4, head)

		b, err := l.After(ctx, 0, 3)
		require.NoError(t, err)
		assert.Equal(t, in, b.Events)
		assert.EqualValues(t, 3, b.Through)
		assert.EqualValues(t, 4, b.Head)
		assert.Equal(t, []string{"00-a-b-01", "00-c-d-01"}, b.Traces)
		b, err = l.After(ctx, 3, 3)
		require.NoError(t, err)
		require.Len(t, b.Events, 1)
		assert.EqualValues(t, 4, b.Through)
		assert.Empty(t, b.Traces)
		b, err = l.After(ctx, 4, 3)
		require.NoError(t, err)
		assert.Empty(t, b.Events)
		assert.EqualValues(t, 4, b.Through)

		seqs := func(read func(fn func(*ledger.Event) error) error) (seqs []int64) {
			require.NoError(t, read(func(e *ledger.Event) error { seqs = append(seqs, e.Seq); return nil }))
			return seqs
		}
		assert.Equal(t, []int64{1, 3, 2, 4}, seqs(func(fn func(*ledger.Event) error) error { return l.Days(ctx, 20000, 20001, 4, "", fn) }))
		assert.Equal(t, []int64{1, 3, 4}, seqs(func(fn func(*ledger.Event) error) error { return l.Days(ctx, 20000, 20001, 4, "US", fn) }))
		assert.Equal(t, []int64{2}, seqs(func(fn func(*ledger.Event) error) error { return l.Days(ctx, 20001, 20001, 3, "", fn) }))
		assert.Equal(t, []int64{1, 2, 3}, seqs(func(fn func(*ledger.Event) error) error { return l.All(ctx, "", 3, fn) }))
		assert.Equal(t, []int64{1, 3, 4}, seqs(func(fn func(*ledger.Event) error) error { return l.All(ctx, "US", 4, fn) }))

		require.NoError(t, db.Write(ctx, func(tx *sqldb.Tx) error { return l.Forget(tx, 3) }))
		b, err = l.After(ctx, 0, 10)
		require.NoError(t, err)
		assert.Len(t, b.Events, 4)
		assert.Empty(t, b.Traces)
	})
}

// TestP2_CommitOrderIsSequenceOrder has several writers append at once while a reader follows:
// it never sees a number before a smaller one, and in the end it has seen all.
func TestP2_CommitOrderIsSequenceOrder(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		first, db := open(t, url)
		writers := []*ledger.Ledger{first, first, first}
		if db.Postgres() { // three processes
			second, _ := open(t, url)
			third, _ := open(t, url)
			writers = []*ledger.Ledger{first, second, third}
		}
		const batches, size = 30, 20
		var done sync.WaitGroup
		for w, l := range writers {
			done.Go(func() {
				for b := range batches {
					events := make([]ledger.Event, size)
					for i := range events {
						events[i] = play(20000, fmt.Sprint("w", w), b*size+i)
					}
					if !assert.NoError(t, l.Append(t.Context(), events, nil)) {
						return
					}
				}
			})
		}
		next, per := int64(1), map[string]int{}
		for next <= int64(len(writers)*batches*size) && !t.Failed() {
			b, err := first.After(t.Context(), next-1, 97)
			require.NoError(t, err)
			for _, e := range b.Events {
				require.Equal(t, next, e.Seq, "no hole")
				n := int(binary.BigEndian.Uint64(e.Viewer[:8]))
				require.Equal(t, per[e.Film], n, "a writer's own order")
				per[e.Film]++
				next++
			}
		}
		done.Wait()
	})
}

func TestPurgeTellsTheFold(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		l, db := open(t, url)
		ctx := t.Context()
		var events []ledger.Event
		for i := range 1000 {
			events = append(events, play(20000+int32(i%3), "a", i%10))
		}
		require.NoError(t, l.Append(ctx, events, nil))
		told := int64(-1)
		n, err := l.Purge(ctx, []ledger.Viewer{viewer(3), viewer(4711), viewer(5)}, func(_ *sqldb.Tx, rows int64) error { told = rows; return nil })
		require.NoError(t, err)
		assert.EqualValues(t, 200, n)
		assert.EqualValues(t, 200, told)
		require.NoError(t, l.Append(ctx, []ledger.Event{play(20000, "a", 3)}, nil)) // somebody new

		b, err := l.After(ctx, 0, 5000)
		require.NoError(t, err)
		require.Len(t, b.Purges, 2, "nothing to tell of a viewer without rows")
		byOld := map[ledger.Viewer]ledger.Purge{}
		for _, p := range b.Purges {
			byOld[p.Old] = p
			assert.EqualValues(t, 1001, p.Seq)
		}
		assert.NotEqual(t, byOld[viewer(3)].New, byOld[viewer(5)].New, "each has its own")
		for i, e := range b.Events[:1000] {
			want := viewer(i % 10)
			if p, ok := byOld[want]; ok {
				want = p.New
			}
			require.Equal(t, want, e.Viewer)
		}
		assert.Equal(t, viewer(3), b.Events[1000].Viewer)
		assert.EqualValues(t, 1002, b.Through)

		b, err = l.After(ctx, 1000, 10)
		require.NoError(t, err)
		assert.Len(t, b.Purges, 2)
		b, err = l.After(ctx, 1001, 10)
		require.NoError(t, err)
		assert.Empty(t, b.Purges, "a fold past it has done it")
		require.NoError(t, db.Write(ctx, func(tx *sqldb.Tx) error { return l.Forget(tx, 1001) }))
		b, err = l.After(ctx, 0, 1)
		require.NoError(t, err)
		assert.Empty(t, b.Purges, "the link is gone")
	})
}

func TestTrimKeepsRatings(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		l, _ := open(t, url)
		ctx := t.Context()
		old := make([]ledger.Event, 7000)
		for i := range old {
			old[i] = play(20000, "a", i)
			if i%1000 == 0 {
				old[i].Kind = pb.Event_RATE
			}
		}
		require.NoError(t, l.Append(ctx, old, nil))
		time.Sleep(5 * time.Millisecond)
		cut := time.Now().UnixMicro()
		time.Sleep(5 * time.Millisecond)
		require.NoError(t, l.Append(ctx, []ledger.Event{play(20000, "a", 1)}, nil))
		rounds := 0
		for more := true; more; rounds++ {
			var err error
			more, err = l.Trim(ctx, cut)
			require.NoError(t, err)
		}
		assert.Equal(t, 2, rounds)
		b, err := l.After(ctx, 0, 100)
		require.NoError(t, err)
		require.Len(t, b.Events, 8)
		for _, e := range b.Events[:7] {
			assert.Equal(t, pb.Event_RATE, e.Kind)
		}
		assert.EqualValues(t, 7001, b.Through, "holes are passed")
	})
}

func TestBackReadsDaysOfFilmsUntilItIsEnough(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		l, _ := open(t, url)
		require.NoError(t, l.Append(t.Context(), []ledger.Event{
			play(20003, "a", 1), play(20001, "b", 2), play(20001, "c", 3), play(20001, "a", 4), play(19000, "a", 5), play(18000, "a", 6), play(20001, "a", 7),
		}, nil))
		var films []string
		for i := range 1500 {
			films = append(films, fmt.Sprint("films/none", i))
		}
		var seen []int64
		var days []int32
		require.NoError(t, l.Back(t.Context(), 20002, 6, append([]string{"films/a", "films/b"}, films...), func(e *ledger.Event) error {
			seen = append(seen, e.Seq)
			return nil
		}, func(day int32) bool {
			days = append(days, day)
			return day > 19000
		}))
		assert.Equal(t, []int64{2, 4, 5}, seen)
		assert.Equal(t, []int32{20001, 19000}, days)
	})
}
