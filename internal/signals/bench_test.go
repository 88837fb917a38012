package signals

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/ledger"
	"github.com/aitheater/theater/internal/sqldb"
	"github.com/aitheater/theater/internal/theatertest"
)

// present is how many rows stand in the ledger before anything is measured; the environment
// may ask for more (THEATER_BENCH_ROWS=5000000).
func present(b *testing.B) int {
	n := 200_000
	if s := os.Getenv("THEATER_BENCH_ROWS"); s != "" {
		var err error
		n, err = strconv.Atoi(s)
		require.NoError(b, err)
	}
	return n
}

// BenchmarkIngest compares recording events, complete from the call to the acknowledgement,
// with plain batched inserts of the same rows into the same table by the same driver. One
// operation is 500 events; the ratio of the two is the figure to look at.
func BenchmarkIngest(b *testing.B) {
	for _, store := range []string{"sqlite", "postgres"} {
		b.Run(store, func(b *testing.B) {
			url := theatertest.SQLite(b)
			if store == "postgres" {
				url = theatertest.Postgres(b)
			}
			db := open(b, url)
			r := start(b, db)
			fill(b, r.ledger, present(b))
			b.Run("plain", func(b *testing.B) { benchmarkPlain(b, db) })
			b.Run("record", func(b *testing.B) { benchmarkRecord(b, r) })
		})
	}
}

// fill appends rows of random viewers, over four days.
func fill(b *testing.B, l *ledger.Ledger, n int) {
	today := ledger.DayOf(time.Now().UnixMicro())
	for n > 0 {
		events := make([]ledger.Event, min(n, 1000))
		for i := range events {
			events[i] = ledger.Event{Day: today - int32(n/1000%4), Kind: pb.Event_PLAY, Audience: pb.Viewer_ADULT, Market: "US", Film: fmt.Sprint("films/f", i%films), Value: 60, Occur: time.Now().UnixMicro()}
			binary.NativeEndian.PutUint64(events[i].Viewer[:], rand.Uint64())
		}
		require.NoError(b, l.Append(b.Context(), events, nil))
		n -= len(events)
	}
}

// plainBatch is what the plain way writes in a transaction: as many rows as ours at most.
const plainBatch = maxBatch

func benchmarkPlain(b *testing.B, db *sqldb.DB) {
	seq := int64(1) << 40
	now := time.Now().UnixMicro()
	day := int64(ledger.DayOf(now))
	statement := `INSERT INTO ledger_events (seq, day, market, film, viewer, kind, value, occur, audience, receipt) VALUES `
	for i := range 1000 {
		switch {
		case i == 0:
			statement += "("
		case i%10 == 0:
			statement += "),("
		default:
			statement += ","
		}
		if db.Postgres() {
			statement += "$" + strconv.Itoa(i+1)
		} else {
			statement += "?"
		}
	}
	statement += ")"
	m := measure(b)
	total := 0
	for b.Loop() {
		total += 500
		if total%plainBatch != 0 {
			continue
		}
		err := db.Write(b.Context(), func(tx *sqldb.Tx) error {
			values := make([]any, 0, plainBatch*10)
			for i := range plainBatch {
				seq++
				var viewer [16]byte
				binary.NativeEndian.PutUint64(viewer[:], rand.Uint64())
				values = append(values, seq, day, "US", "films/f"+strconv.Itoa(i%films), viewer[:], int64(pb.Event_PLAY), 60.0, now, int64(1), now)
			}
			for ; len(values) > 0; values = values[1000:] { // 100 rows a statement
				if _, err := tx.Exec(statement, values[:1000]...); err != nil {
					return err
				}
			}
			return nil
		})
		require.NoError(b, err)
	}
	m.report(total)
	require.NoError(b, db.Write(context.Background(), func(tx *sqldb.Tx) error {
		_, err := tx.Exec(`DELETE FROM ledger_events WHERE seq > $1`, int64(1)<<40)
		return err
	}))
}

func benchmarkRecord(b *testing.B, r *replica) {
	ctx := auth.WithCaller(b.Context(), &auth.Caller{ID: "bench"})
	const callers = 32
	requests := make([]*pb.RecordEventsRequest, 64)
	now := timestamppb.Now()
	for i := range requests {
		requests[i] = &pb.RecordEventsRequest{}
		for e := range 500 {
			requests[i].Events = append(requests[i].Events, &pb.Event{Film: "films/f" + strconv.Itoa(e%films), ViewerKey: "viewer-" + strconv.FormatUint(rand.Uint64(), 36),
				Market: "US", Kind: pb.Event_PLAY, Value: 60, OccurTime: now, Audience: pb.Viewer_ADULT})
		}
	}
	m := measure(b)
	var left atomic.Int64
	work := make(chan struct{})
	var group sync.WaitGroup
	for c := range callers {
		group.Go(func() {
			for range work {
				if _, err := r.RecordEvents(ctx, requests[(c+int(left.Add(1)))%len(requests)]); err != nil {
					b.Error(err)
				}
			}
		})
	}
	total := 0
	for b.Loop() {
		work <- struct{}{}
		total += 500
	}
	close(work)
	group.Wait()
	m.report(total)
}

// measurement is of wall time and of this process's processor time: the second holds still
// where the machine does not. With SQLite the database is part of the process.
type measurement struct {
	b     *testing.B
	began time.Time
	cpu   time.Duration
}

func measure(b *testing.B) measurement { return measurement{b, time.Now(), cpuTime(b)} }

func (m measurement) report(events int) {
	m.b.ReportMetric(float64(events)/time.Since(m.began).Seconds(), "events/s")
	m.b.ReportMetric(float64((cpuTime(m.b)-m.cpu).Nanoseconds())/float64(events), "cpu-ns/event")
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
