package signals

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/ledger"
	"github.com/aitheater/theater/internal/theatertest"
)

// counted gives the keys that count, as the fold's rule has it.
func counted(rows []ledger.Event) map[string]int {
	n := map[string]int{}
	for _, e := range rows {
		n[fmt.Sprint(e.Day, e.Market, e.Film, e.Viewer, e.Kind)]++
	}
	return n
}

// TestP2_EveryAcknowledgedEventIsStoredAndCountsOnce sends the same events, over and over and at
// once, to two replicas: afterwards there is exactly one key for each event acknowledged.
func TestP2_EveryAcknowledgedEventIsStoredAndCountsOnce(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		a := start(t, open(t, url))
		b := a
		if a.db.Postgres() {
			b = start(t, open(t, url))
		}
		at := timestamppb.Now()
		const viewers, rounds = 60, 4
		var senders sync.WaitGroup
		var accepted atomic.Int64
		for i := range viewers {
			for round := range rounds {
				senders.Go(func() {
					r := []*replica{a, b}[round%2]
					var events []*pb.Event
					for f := range 5 {
						e := recent(fmt.Sprint("films/f", f), fmt.Sprint("v", i), func(e *pb.Event) { e.OccurTime = at })
						events = append(events, e, e)
					}
					resp, err := r.RecordEvents(asService(t), &pb.RecordEventsRequest{Events: events})
					if !assert.NoError(t, err) {
						return
					}
					for _, res := range resp.GetResults() {
						if assert.Equal(t, pb.EventResult_ACCEPTED, res.GetStatus()) {
							accepted.Add(1)
						}
					}
				})
			}
		}
		senders.Wait()
		rows := a.rows(t)
		assert.EqualValues(t, accepted.Load(), len(rows))
		assert.Len(t, counted(rows), viewers*5)
	})
}

// crashVariable makes the test program a service that dies in the middle of its work.
const crashVariable = "SIGNALS_TEST_CRASH"

// crashMode serves until it is killed, if the environment asks for it: it records events
// forever and prints each acknowledged viewer.
func crashMode() bool {
	url := os.Getenv(crashVariable)
	if url == "" {
		return false
	}
	t := &crashing{}
	r := start(t, open(t, url))
	var senders sync.WaitGroup
	out := make(chan string)
	for s := range 8 {
		senders.Go(func() {
			for i := 0; ; i++ {
				who := fmt.Sprintf("%s-%d-%d", os.Getenv(crashVariable+"_RUN"), s, i)
				_, err := r.RecordEvents(context.Background(), &pb.RecordEventsRequest{Events: []*pb.Event{recent("films/f1", who), recent("films/f2", who)}})
				if err == nil {
					out <- who
				}
			}
		})
	}
	for who := range out {
		fmt.Println(who)
	}
	return true
}

// crashing is the part of testing.TB that start needs outside of a test.
type crashing struct{ testing.TB }

func (*crashing) Helper()               {}
func (*crashing) Cleanup(func())        {}
func (*crashing) Errorf(string, ...any) {}
func (*crashing) FailNow()              { os.Exit(3) }

// TestP2_KillBetweenCommitAndReplyLosesNothing kills a recording process with SIGKILL at a
// different moment each time. Whatever it acknowledged is there, and sending everything again
// counts nothing twice.
func TestP2_KillBetweenCommitAndReplyLosesNothing(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		acknowledged := map[string]bool{}
		for run := range 4 {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), crashVariable+"="+url, fmt.Sprintf("%s_RUN=%d", crashVariable, run))
			cmd.Stderr = os.Stderr
			stdout, err := cmd.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			lines := bufio.NewScanner(stdout)
			for n := 0; n < 50+37*run && lines.Scan(); n++ {
				acknowledged[lines.Text()] = true
			}
			require.NoError(t, cmd.Process.Kill())
			// What it still wrote before the kill; a last line cut short names an earlier one.
			for lines.Scan() {
				if strings.Count(lines.Text(), "-") == 2 {
					acknowledged[lines.Text()] = true
				}
			}
			require.Error(t, cmd.Wait())
		}
		require.Greater(t, len(acknowledged), 200)
		r := start(t, open(t, url))
		stored := map[ledger.Viewer]int{}
		before := r.rows(t)
		for _, e := range before {
			stored[e.Viewer]++
		}
		for who := range acknowledged {
			assert.Equal(t, 2, stored[r.viewers.adults.sum(who)], "acknowledged: %s", who)
		}
		// A client that never had its answer sends again.
		for _, e := range before[:100] {
			resp, err := r.RecordEvents(asService(t), &pb.RecordEventsRequest{Events: []*pb.Event{{
				Film: e.Film, ViewerKey: "again", Market: e.Market, Kind: e.Kind, OccurTime: timestamppb.New(time.UnixMicro(e.Occur)), Audience: pb.Viewer_ADULT}}})
			require.NoError(t, err)
			require.Equal(t, pb.EventResult_ACCEPTED, resp.GetResults()[0].GetStatus())
		}
		after := r.rows(t)
		assert.Len(t, after, len(before)+100)
		assert.Len(t, counted(after), len(counted(before))+2)
	})
}

// TestImportedTwiceCountsOnce streams a file's events twice, several batches ahead of the
// answers.
func TestImportedTwiceCountsOnce(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		r := start(t, open(t, url))
		var batches []*pb.ImportEventsRequest
		const n, size = 40, 100
		for b := range n {
			req := &pb.ImportEventsRequest{}
			for i := range size {
				req.Events = append(req.Events, event(func(e *pb.Event) {
					e.Film, e.ViewerKey = fmt.Sprint("films/f", i), fmt.Sprint("v", b)
					e.OccurTime = timestamppb.New(time.Date(1996+b%20, 1, 1+i%28, 0, 0, 0, 0, time.UTC))
				}))
			}
			req.Events[b].Film = "films/nope"
			batches = append(batches, req)
		}
		for round := 1; round <= 2; round++ {
			s := &importStream{ctx: asService(t), in: batches}
			require.NoError(t, r.ImportEvents(s))
			require.Len(t, s.out, n)
			for b, resp := range s.out {
				require.Len(t, resp.GetResults(), size)
				for i, res := range resp.GetResults() {
					require.Equal(t, i == b, res.GetStatus() == pb.EventResult_REJECTED, "answers are in order")
				}
			}
			rows := r.rows(t)
			assert.Len(t, rows, round*n*(size-1))
			assert.Len(t, counted(rows), n*(size-1))
		}
		err := r.ImportEvents(&importStream{ctx: asService(t), in: []*pb.ImportEventsRequest{batches[0], {}}})
		require.True(t, fault.Is(err, pb.ErrorReason_INVALID_FIELD))
	})
}

// importStream is the server's end of a stream whose client sends in and keeps out.
type importStream struct {
	grpc.ServerStream
	ctx context.Context
	in  []*pb.ImportEventsRequest
	out []*pb.ImportEventsResponse
}

func (s *importStream) Context() context.Context { return s.ctx }
func (s *importStream) Recv() (*pb.ImportEventsRequest, error) {
	if len(s.in) == 0 {
		return nil, io.EOF
	}
	next := s.in[0]
	s.in = s.in[1:]
	return next, nil
}
func (s *importStream) Send(m *pb.ImportEventsResponse) error { s.out = append(s.out, m); return nil }

// slowLedger is a database that takes its time, until it is let go.
type slowLedger struct {
	mu    sync.Mutex
	gate  chan error
	sizes []int
	seqs  int64
}

func (l *slowLedger) Append(ctx context.Context, events []ledger.Event, _ []string) error {
	select {
	case err := <-l.gate:
		if err != nil {
			return err
		}
	case <-ctx.Done():
		return fault.StoreUnavailable(ctx.Err())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sizes = append(l.sizes, len(events))
	for i := range events {
		l.seqs++
		events[i].Seq = l.seqs
	}
	return nil
}

// bench is a queue in a bubble, where time is the test's.
func bench(run func(q *queue, l *slowLedger, stop func())) {
	l := &slowLedger{gate: make(chan error)}
	q := newQueue(l, newMetrics())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); q.run(ctx) }()
	run(q, l, func() { cancel(); <-done })
	cancel()
	<-done
}

func someEvents(n int) []ledger.Event { return make([]ledger.Event, n) }

func TestQueueFillsWhileACommitIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bench(func(q *queue, l *slowLedger, _ func()) {
			var parcels []*parcel
			for range 501 {
				p, err := q.enqueue(t.Context(), someEvents(10))
				require.NoError(t, err)
				parcels = append(parcels, p)
				synctest.Wait()
			}
			close(l.gate)
			for _, p := range parcels {
				require.NoError(t, q.wait(t.Context(), p))
			}
			assert.Equal(t, []int{10, 2000, 2000, 1000}, l.sizes, "the first alone, the others by the batch")
			assert.Zero(t, q.depth())
		})
	})
}

func TestFullQueueRefusesAtOnceAndSaysWhenToComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bench(func(q *queue, l *slowLedger, _ func()) {
			for range maxQueued / 500 {
				_, err := q.enqueue(t.Context(), someEvents(500))
				require.NoError(t, err)
			}
			_, err := q.enqueue(t.Context(), someEvents(1))
			require.True(t, fault.Is(err, pb.ErrorReason_OVERLOADED))
			assert.Equal(t, fault.ResourceExhausted, fault.As(err).Kind)
			assert.Positive(t, fault.As(err).RetryAfter)
			l.gate <- nil
			synctest.Wait()
			_, err = q.enqueue(t.Context(), someEvents(1))
			require.NoError(t, err, "as soon as there is room")
			close(l.gate)
		})
	})
}

func TestFailedCommitIsToldToThoseItConcerns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bench(func(q *queue, l *slowLedger, _ func()) {
			first, err := q.enqueue(t.Context(), someEvents(1))
			require.NoError(t, err)
			synctest.Wait()
			second, err := q.enqueue(t.Context(), someEvents(1))
			require.NoError(t, err)
			l.gate <- fault.StoreUnavailable(nil)
			l.gate <- nil
			require.True(t, fault.Is(q.wait(t.Context(), first), pb.ErrorReason_STORE_UNAVAILABLE))
			require.NoError(t, q.wait(t.Context(), second))
			close(l.gate)
		})
	})
}

func TestLongQueueOfABusyDatabaseIsNoOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bench(func(q *queue, l *slowLedger, _ func()) {
			var last *parcel
			for range 5 * maxBatch / 500 {
				p, err := q.enqueue(t.Context(), someEvents(500))
				require.NoError(t, err)
				last = p
			}
			answer := make(chan error, 1)
			go func() { answer <- q.wait(t.Context(), last) }()
			for range 5 {
				time.Sleep(300 * time.Millisecond)
				l.gate <- nil
			}
			close(l.gate)
			require.NoError(t, <-answer)
		})
	})
}

func TestStopWritesWhatIsQueuedAndTakesNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bench(func(q *queue, l *slowLedger, stop func()) {
			var parcels []*parcel
			for range 20 {
				p, err := q.enqueue(t.Context(), someEvents(500))
				require.NoError(t, err)
				parcels = append(parcels, p)
			}
			close(l.gate)
			stop()
			for _, p := range parcels {
				require.NoError(t, q.wait(t.Context(), p))
			}
			_, err := q.enqueue(t.Context(), someEvents(1))
			require.True(t, fault.Is(err, pb.ErrorReason_REPLICA_NOT_READY))
		})
		bench(func(q *queue, _ *slowLedger, stop func()) { // and not for ever
			var parcels []*parcel
			for range 20 {
				p, err := q.enqueue(t.Context(), someEvents(500))
				require.NoError(t, err)
				parcels = append(parcels, p)
			}
			began := time.Now()
			stop()
			assert.LessOrEqual(t, time.Since(began), flushTime+time.Millisecond)
			for _, p := range parcels {
				require.True(t, fault.Is(<-p.done, pb.ErrorReason_STORE_UNAVAILABLE))
			}
		})
	})
}

func TestCallerWhoLeavesIsToldSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bench(func(q *queue, l *slowLedger, _ func()) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			defer cancel()
			p, err := q.enqueue(ctx, someEvents(1))
			require.NoError(t, err)
			require.True(t, fault.Is(q.wait(ctx, p), pb.ErrorReason_DEADLINE_EXCEEDED))
			gone, leave := context.WithCancel(t.Context())
			leave()
			require.True(t, fault.Is(q.wait(gone, p), pb.ErrorReason_CANCELLED))
			close(l.gate)
		})
	})
}

// TestP10_RecordEventsComesBackAfterSQLDoes stops PostgreSQL under a recording service.
func TestP10_RecordEventsComesBackAfterSQLDoes(t *testing.T) {
	server := theatertest.NewPostgres(t)
	r := start(t, open(t, server.URL))
	record := func(who string) error {
		_, err := r.RecordEvents(asService(t), &pb.RecordEventsRequest{Events: []*pb.Event{recent("films/f1", who)}})
		return err
	}
	require.NoError(t, record("before"))
	for i, fault := range []struct{ begin, end func() }{
		{server.Kill, func() { server.Start(t) }},
		{server.Pause, server.Resume},
	} {
		fault.begin()
		for range 5 {
			began := time.Now()
			require.Error(t, record("meanwhile"))
			assert.Less(t, time.Since(began), 4*time.Second, "500 ms and what a busy machine adds")
		}
		fault.end()
		require.Eventually(t, func() bool { return record(fmt.Sprint("after-", i)) == nil }, 30*time.Second, 20*time.Millisecond)
	}
	seen := map[ledger.Viewer]bool{}
	for _, e := range r.rows(t) {
		seen[e.Viewer] = true
	}
	for _, who := range []string{"before", "after-0", "after-1"} {
		assert.Contains(t, seen, r.viewers.adults.sum(who))
	}
}
