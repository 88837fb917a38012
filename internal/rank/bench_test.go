package rank

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/generations"
	"github.com/aitheater/theater/internal/ledger"
	"github.com/aitheater/theater/internal/shelf"
	"github.com/aitheater/theater/internal/sqldb"
	"github.com/aitheater/theater/internal/theatertest"
)

// crowd makes events of random viewers over the last four days.
type crowd struct {
	rng     *rand.Rand
	now     time.Time
	films   int
	markets int
}

func (c *crowd) event() ledger.Event {
	kinds := []pb.Event_Kind{pb.Event_PLAY, pb.Event_PLAY, pb.Event_PLAY, pb.Event_COMPLETE, pb.Event_LIKE, pb.Event_RATE, pb.Event_SHARE}
	e := ledger.Event{
		Film: fmt.Sprintf("films/f%d", c.rng.IntN(c.films)), Market: string([]byte{'A' + byte(c.rng.IntN(c.markets)/26), 'A' + byte(c.rng.IntN(26))}),
		Kind: kinds[c.rng.IntN(len(kinds))], Audience: pb.Viewer_ADULT, Occur: c.now.Add(-time.Duration(c.rng.Int64N(int64(4 * day)))).UnixMicro(),
	}
	switch e.Kind {
	case pb.Event_PLAY:
		e.Value = float64(c.rng.IntN(6000))
	case pb.Event_RATE:
		e.Value = float64(1+c.rng.IntN(10)) / 2
	}
	binary.LittleEndian.PutUint64(e.Viewer[:], c.rng.Uint64())
	binary.LittleEndian.PutUint64(e.Viewer[8:], c.rng.Uint64())
	e.Day = ledger.DayOf(e.Occur)
	return e
}

func (c *crowd) fill(t testing.TB, log *ledger.Ledger, n int) {
	for n > 0 {
		batch := make([]ledger.Event, min(n, 20_000))
		for i := range batch {
			batch[i] = c.event()
		}
		require.NoError(t, log.Append(context.Background(), batch, nil))
		n -= len(batch)
	}
}

// heap is how many bytes are in use.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// checkpointBytes is how long all segments are.
func checkpointBytes(b *testing.B, db *sqldb.DB) (n int64) {
	require.NoError(b, db.Read(context.Background(), func(tx *sqldb.Tx) error {
		return tx.QueryRow(`SELECT (SELECT SUM(LENGTH(body)) FROM rank_segments) + (SELECT SUM(LENGTH(body)) FROM rank_keys)`).Scan(&n)
	}))
	return n
}

// foldRows is how many events BenchmarkFold folds; THEATER_BENCH_ROWS=10000000 asks for more.
func foldRows(b *testing.B) int {
	n := 1_000_000
	if s := os.Getenv("THEATER_BENCH_ROWS"); s != "" {
		var err error
		n, err = strconv.Atoi(s)
		require.NoError(b, err)
	}
	return n
}

// BenchmarkFold folds a million events of the last four days out of a database, the first time
// and by a new leader, who has a checkpoint and gets new events of all four days.
func BenchmarkFold(b *testing.B) {
	n := foldRows(b)
	for name, url := range map[string]string{"sqlite": theatertest.SQLite(b), "postgres": theatertest.Postgres(b)} {
		b.Run(name, func(b *testing.B) {
			ctx := context.Background()
			db, err := sqldb.Open(ctx, url)
			require.NoError(b, err)
			defer db.Close()
			sh := shelf.New()
			shelve(b, sh, testFilms(time.Now()), nil)
			svc := New(db, nil, sh, nil, nil)
			c := &crowd{rand.New(rand.NewPCG(1, 2)), time.Now(), 10_000, 26}
			c.fill(b, svc.ledger, n)
			epoch, _, err := db.Lease(ctx, leaseName, svc.holder, time.Hour)
			require.NoError(b, err)
			for b.Loop() {
				require.NoError(b, db.Write(ctx, func(tx *sqldb.Tx) error { _, err := tx.Exec("DELETE FROM rank_state"); return err }))
				l, err := svc.take(ctx, Config{Lease: time.Hour}.filled(), epoch)
				require.NoError(b, err)
				began := time.Now()
				require.NoError(b, l.follow(ctx))
				b.ReportMetric(float64(n)/time.Since(began).Seconds(), "events/s")
				began = time.Now()
				require.NoError(b, l.checkpoint(ctx))
				b.ReportMetric(time.Since(began).Seconds(), "s/checkpoint")
				b.ReportMetric(float64(checkpointBytes(b, db))/float64(n), "checkpoint-B/event")

				c.fill(b, svc.ledger, 1000) // touches all four days
				l = nil
				before := heap()
				began = time.Now()
				l, err = svc.take(ctx, Config{Lease: time.Hour}.filled(), epoch)
				require.NoError(b, err)
				b.ReportMetric(time.Since(began).Seconds(), "s/take")
				require.NoError(b, l.follow(ctx))
				b.ReportMetric(time.Since(began).Seconds(), "s/takeover")
				after := heap()
				keys := 0
				for _, d := range l.state.days {
					keys += d.size
				}
				clear(l.state.days)
				b.ReportMetric(float64(after-heap())/float64(keys), "B/key")
				b.ReportMetric(float64(after-before)/float64(n), "B/event")
				runtime.KeepAlive(l)
			}
		})
	}
}

// BenchmarkGeneration makes all lists of 50 markets and 6 charts over 100,000 films, every
// film with events in every market.
func BenchmarkGeneration(b *testing.B) {
	const films, markets = 100_000, 50
	now := time.Now()
	sh := shelf.New()
	all := make([]*pb.Film, films)
	for i := range all {
		all[i] = film(fmt.Sprintf("f%d", i), func(f *pb.Film) {
			f.Genres = []string{fmt.Sprintf("g%d", i%40), fmt.Sprintf("h%d", i%7)}
			f.ContentType = pb.Film_ContentType(1 + i%5)
			if i%10 == 0 {
				f.AgeBand, f.MinorsReview = pb.Film_AGE_3, &pb.MinorsReview{AgeBand: pb.Film_AGE_3}
			}
		})
	}
	wilsonChart := &pb.Chart{Name: "charts/wilson", Kind: pb.Chart_WILSON, PositiveThreshold: 4, Z: 1.96}
	shelve(b, sh, all, []*pb.Chart{wilsonChart})
	svc := New(&sqldb.DB{}, nil, sh, nil, nil)
	charts := inForce(sh.Current(), svc.builtin)
	require.Len(b, charts, 6)
	s := newState(needsOf(charts))
	s.at = now.UnixMicro()
	rng := rand.New(rand.NewPCG(1, 2))
	for m := range markets {
		name := string([]byte{'A' + byte(m/26), 'A' + byte(m%26)})
		for f := range films {
			for _, kind := range []pb.Event_Kind{pb.Event_PLAY, pb.Event_RATE} {
				e := event(fmt.Sprintf("f%d", f), "v", name, kind, float64(1+rng.IntN(10))/2, now.Add(-time.Duration(rng.Int64N(int64(20*day)))))
				s.applyIn(s.markets[s.market(name)], s.rowOf(s.markets[s.market(name)], s.film(e.Film)), &e, 1)
				s.applyIn(s.markets[0], s.rowOf(s.markets[0], s.film(e.Film)), &e, 1)
			}
		}
	}
	board := newBoard()
	none := func(string, string) *generations.List { return nil }
	win := windows{micros(charts[1].Window): &firstDay{day: ledger.DayOf(s.at) - 7}}
	board.lists(charts, s, sh.Current(), win, none, true)
	for b.Loop() {
		var before, after syscall.Rusage
		require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &before))
		lists := board.lists(charts, s, sh.Current(), win, none, true)
		require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &after))
		b.ReportMetric(float64(after.Utime.Nano()-before.Utime.Nano())/1e9, "cpu-s")
		b.ReportMetric(float64(len(lists)), "lists")
		b.ReportMetric(float64(len(lists[0].Entries)), "entries")
	}
}

// BenchmarkKeys reads the stored keys of a day of 2.5 million events, as a new leader does.
func BenchmarkKeys(b *testing.B) {
	s := newState(needs{})
	c := &crowd{rand.New(rand.NewPCG(1, 2)), time.Now(), 10_000, 26}
	d := newDayKeys()
	d.log = newKeyLog()
	for range 2_500_000 {
		e := c.event()
		if e.Kind != pb.Event_RATE {
			s.seeOn(d, &e)
		}
	}
	before := heap()
	for b.Loop() {
		d.log.w.end()
		r := &keyReader{state: s, day: newDayKeys(), by: renames{}}
		for _, body := range d.log.bodies {
			require.NoError(b, r.read(body))
		}
		b.StopTimer()
		b.ReportMetric(float64(heap()-before)/float64(d.size), "B/key")
		runtime.KeepAlive(r)
		b.StartTimer()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*d.size), "ns/key")
}
