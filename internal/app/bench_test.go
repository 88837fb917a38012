package app_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/app"
	"github.com/aitheater/theater/internal/demo"
	"github.com/aitheater/theater/internal/ledger"
	"github.com/aitheater/theater/internal/sqldb"
	"github.com/aitheater/theater/internal/telemetry"
	"github.com/aitheater/theater/internal/theatertest"
	"github.com/aitheater/theater/internal/theatertest/house"
)

const (
	// ingestCall is how many events a call brings, the most there may be.
	ingestCall = 500
	// ingestCallers is how many calls are under way at once.
	ingestCallers = 16
	// plainBatch is how many rows a plain transaction has: as many as ours has at the most.
	plainBatch = 2000
)

// BenchmarkIngest compares recording events, complete from the client's call to the
// acknowledgement, with plain batched inserts of the same rows into the same table by the same
// driver into a second database, in turns. THEATER_BENCH_ROWS is how many rows stand in both
// before (200,000). Client, service and, with SQLite, database share the process, so that
// cpu-ns/event is more than the service's own.
//
// "leads" is the usual single server, which also ranks what it records; "follows" is one of
// several, whose leader is another machine.
func BenchmarkIngest(b *testing.B) {
	for _, store := range []string{"sqlite", "postgres"} {
		open := theatertest.SQLite
		if store == "postgres" {
			open = theatertest.Postgres
		}
		b.Run(store, func(b *testing.B) {
			plain, ours := &plainStore{url: open(b), seq: 1 << 40}, open(b)
			for _, url := range []string{plain.url, ours} {
				withStore(b, url, func(db *sqldb.DB) { present(b, db) })
			}
			for _, role := range []string{"follows", "leads"} {
				b.Run(role, func(b *testing.B) { benchmarkIngest(b, plain, ours, role == "leads") })
			}
		})
	}
}

// withStore opens a store for f. A SQLite store serves one process at a time.
func withStore(b *testing.B, url string, f func(*sqldb.DB)) {
	db, err := sqldb.Open(b.Context(), url)
	require.NoError(b, err)
	defer func() { require.NoError(b, db.Close()) }()
	f(db)
}

// present fills the ledger.
func present(b *testing.B, db *sqldb.DB) {
	n := 200_000
	if s := os.Getenv("THEATER_BENCH_ROWS"); s != "" {
		var err error
		n, err = strconv.Atoi(s)
		require.NoError(b, err)
	}
	l := ledger.New(db)
	today := ledger.DayOf(time.Now().UnixMicro())
	for ; n > 0; n -= plainBatch {
		events := make([]ledger.Event, min(n, plainBatch))
		for i := range events {
			day := today - int32(n/plainBatch%4)
			events[i] = ledger.Event{Day: day, Kind: pb.Event_PLAY, Audience: pb.Viewer_ADULT, Market: "US", Film: filmName(i), Value: 60, Occur: int64(day) * 86_400_000_000}
			binary.NativeEndian.PutUint64(events[i].Viewer[:], rand.Uint64())
		}
		require.NoError(b, l.Append(b.Context(), events, nil))
	}
}

// plainStore is a database that is inserted into without a service.
type plainStore struct {
	url string
	seq int64
}

// names are the demo's films.
var names = sync.OnceValue(func() (names []string) {
	for _, f := range demo.Films(time.Now()) {
		names = append(names, f.GetName())
	}
	return names
})

func filmName(i int) string { return names()[i%len(names())] }

// insert writes a batch the plain way.
func (s *plainStore) insert(b *testing.B, db *sqldb.DB) {
	now := time.Now().UnixMicro()
	values := make([]any, 0, plainBatch*10)
	for i := range plainBatch {
		s.seq++
		var viewer [16]byte
		binary.NativeEndian.PutUint64(viewer[:], rand.Uint64())
		values = append(values, s.seq, int64(ledger.DayOf(now)), "US", filmName(i), viewer[:], int64(pb.Event_PLAY), 60.0, now, int64(1), now)
	}
	const rows = 100 // a statement
	require.NoError(b, db.Write(b.Context(), func(tx *sqldb.Tx) error {
		for ; len(values) > 0; values = values[rows*10:] {
			if _, err := tx.Exec(insertRows(db.Postgres(), rows), values[:rows*10]...); err != nil {
				return err
			}
		}
		return nil
	}))
}

// insertRows is the statement that inserts n rows of ten columns.
func insertRows(postgres bool, n int) string {
	var s strings.Builder
	s.WriteString(`INSERT INTO ledger_events (seq, day, market, film, viewer, kind, value, occur, audience, receipt) VALUES `)
	for i := range n * 10 {
		s.WriteString([]string{"(", ","}[min(i, 1)*min(i%10, 1)])
		if postgres {
			fmt.Fprintf(&s, "$%d", i+1)
		} else {
			s.WriteString("?")
		}
		if i%10 == 9 {
			s.WriteString(")")
			if i < n*10-1 {
				s.WriteString(",")
			}
		}
	}
	return s.String()
}

func benchmarkIngest(b *testing.B, plain *plainStore, ours string, leads bool) {
	holding := time.Hour
	if leads {
		holding = 0 // given back
	}
	withStore(b, ours, func(db *sqldb.DB) {
		_, _, err := db.Lease(b.Context(), "rank", "another", holding)
		require.NoError(b, err)
	})
	tel, err := telemetry.Setup(b.Context(), "benchmark")
	require.NoError(b, err)
	b.Cleanup(tel.Shutdown)
	tel.Log = slog.New(slog.DiscardHandler)
	h := house.Start(b, app.Config{Store: ours, Redis: theatertest.Redis(b), Telemetry: tel})
	_, err = demo.Load(b.Context(), h.Conn, time.Now())
	require.NoError(b, err)
	if leads {
		require.Eventually(b, func() bool {
			return metric(b, h, "theater_rank_leading") == 1 && metric(b, h, "theater_rank_behind") == 0
		}, 5*time.Minute, time.Second)
	}
	conn, err := grpc.NewClient(h.Addrs.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, conn.Close()) })
	signals := pb.NewSignalServiceClient(conn)

	plainDB, err := sqldb.Open(b.Context(), plain.url)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, plainDB.Close()) })
	const round = 8 * ingestCallers // calls
	var plainTook, oursTook, cpu time.Duration
	var calls []time.Duration
	events := 0
	for b.Loop() {
		began := time.Now()
		for range round * ingestCall / plainBatch {
			plain.insert(b, plainDB)
		}
		plainTook += time.Since(began)

		requests := ingestRequests(round)
		began = time.Now()
		before := processCPU(b)
		calls = append(calls, ingest(b, signals, requests)...)
		oursTook += time.Since(began)
		cpu += processCPU(b) - before
		events += round * ingestCall
	}
	rate := float64(events) / oursTook.Seconds()
	half := paced(b, signals, rate/2)
	slices.Sort(calls)
	b.ReportMetric(float64(half[len(half)*99/100].Microseconds())/1e3, "p99-ms-at-half")
	b.ReportMetric(plainTook.Seconds()/oursTook.Seconds(), "×plain")
	b.ReportMetric(rate, "events/s")
	b.ReportMetric(float64(cpu.Nanoseconds())/float64(events), "cpu-ns/event")
	b.ReportMetric(float64(calls[len(calls)*99/100].Microseconds())/1e3, "p99-ms")
	b.ReportMetric(0, "ns/op")
}

func ingestRequests(n int) chan *pb.RecordEventsRequest {
	requests := make(chan *pb.RecordEventsRequest, n)
	now := timestamppb.Now()
	for range n {
		r := &pb.RecordEventsRequest{}
		for i := range ingestCall {
			r.Events = append(r.Events, &pb.Event{Film: filmName(i), ViewerKey: "viewer-" + strconv.FormatUint(rand.Uint64(), 36),
				Market: "US", Kind: pb.Event_PLAY, Value: 60, OccurTime: now, Audience: pb.Viewer_ADULT})
		}
		requests <- r
	}
	close(requests)
	return requests
}

// ingest makes calls and gives how long each took.
func ingest(b *testing.B, signals pb.SignalServiceClient, requests <-chan *pb.RecordEventsRequest) []time.Duration {
	var mu sync.Mutex
	var took []time.Duration
	var callers sync.WaitGroup
	for range ingestCallers {
		callers.Go(func() {
			for r := range requests {
				began := time.Now()
				_, err := signals.RecordEvents(b.Context(), r)
				for status.Code(err) == codes.ResourceExhausted { // a machine with other work sheds ours first
					time.Sleep(10 * time.Millisecond)
					_, err = signals.RecordEvents(b.Context(), r)
				}
				if err != nil {
					b.Error(err)
				}
				mu.Lock()
				took = append(took, time.Since(began))
				mu.Unlock()
			}
		})
	}
	callers.Wait()
	return took
}

// paced records events at a rate for some seconds, whether answers come or not, and gives in
// ascending order how long each call took from when it was due.
func paced(b *testing.B, signals pb.SignalServiceClient, rate float64) []time.Duration {
	every := time.Duration(float64(time.Second) * ingestCall / rate)
	requests := ingestRequests(int(3 * time.Second / every))
	var mu sync.Mutex
	var took []time.Duration
	var calls sync.WaitGroup
	due := time.Now()
	for r := range requests {
		time.Sleep(time.Until(due))
		was := due
		calls.Go(func() {
			_, err := signals.RecordEvents(b.Context(), r)
			mu.Lock()
			defer mu.Unlock()
			took = append(took, time.Since(was))
			if err != nil {
				b.Error(err)
			}
		})
		due = due.Add(every)
	}
	calls.Wait()
	slices.Sort(took)
	return took
}

// metric reads a gauge of the service.
func metric(b *testing.B, h *house.House, name string) float64 {
	res, err := http.Get("http://" + h.Addrs.Metrics + "/metrics")
	require.NoError(b, err)
	defer func() { _ = res.Body.Close() }()
	lines := bufio.NewReader(res.Body)
	for {
		line, err := lines.ReadString('\n')
		if err == io.EOF {
			return -1
		}
		require.NoError(b, err)
		if strings.HasPrefix(line, name+"{") || strings.HasPrefix(line, name+" ") {
			value, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndex(line, " ")+1:]), 64)
			require.NoError(b, err)
			return value
		}
	}
}

func processCPU(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
