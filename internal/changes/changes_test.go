package changes_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"pgregory.net/rapid"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/changes"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/sqldb"
	"github.com/aitheater/theater/internal/theatertest"
)

func TestMain(m *testing.M) {
	writeUntilKilled()
	if err := flag.Set("rapid.checks", "30"); err != nil { // each is a few commits
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

func open(t testing.TB, url string) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// mirror is an applier that keeps what it is told and how.
type mirror struct {
	mu        sync.Mutex
	all       map[string]changes.Resource
	applied   []int64 // the revision of every Load and Apply
	withdrawn map[string]time.Time
	slow      time.Duration // every Apply takes this long
	t         testing.TB
}

func newMirror(t testing.TB) *mirror {
	return &mirror{t: t, all: map[string]changes.Resource{}, withdrawn: map[string]time.Time{}}
}

func (m *mirror) Load(revision int64, next func() (changes.Resource, bool)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = map[string]changes.Resource{}
	for r, ok := next(); ok; r, ok = next() {
		m.all[r.Name] = r
	}
	m.applied = append(m.applied, revision)
	return nil
}

func (m *mirror) Withdraw(revision int64, names []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range names {
		if _, ok := m.withdrawn[name]; !ok {
			m.withdrawn[name] = time.Now()
		}
	}
}

func (m *mirror) Apply(revision int64, changed []changes.Resource) {
	m.mu.Lock()
	slow := m.slow
	m.mu.Unlock()
	time.Sleep(slow)
	m.mu.Lock()
	defer m.mu.Unlock()
	seen := map[string]bool{}
	for _, r := range changed {
		if seen[r.Name] {
			m.t.Errorf("%s comes twice in one Apply", r.Name)
		}
		seen[r.Name] = true
		if r.Revision > revision {
			m.t.Errorf("%s of revision %d in an Apply up to %d", r.Name, r.Revision, revision)
		}
		if r.Body == nil {
			delete(m.all, r.Name)
		} else {
			m.all[r.Name] = r
		}
	}
	if last := m.applied[len(m.applied)-1]; revision <= last {
		m.t.Errorf("revision %d applied after %d", revision, last)
	}
	m.applied = append(m.applied, revision)
}

func (m *mirror) bodies() map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	bodies := map[string]string{}
	for name, r := range m.all {
		bodies[name] = string(r.Body)
	}
	return bodies
}

// follow runs a log with a mirror until the test or stop ends it.
func follow(t testing.TB, db *sqldb.DB, replica string) (*changes.Log, *mirror, func()) {
	t.Helper()
	l, m := changes.New(db, replica), newMirror(t)
	return l, m, run(t, l, m)
}

// run lets l keep m up to date, and returns when it has loaded.
func run(t testing.TB, l *changes.Log, m *mirror) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Follow(ctx, m) }()
	stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-done)
	})
	t.Cleanup(stop)
	require.Eventually(t, func() bool { return l.Status().Ready }, 30*time.Second, time.Millisecond)
	return stop
}

func call(method string) changes.Call { return changes.Call{Actor: "ann", Method: method} }

// put writes bodies by name; a name alone purges.
func put(t testing.TB, l *changes.Log, c changes.Call, cs ...changes.Change) int64 {
	t.Helper()
	_, revision, err := changes.Write(t.Context(), l, c, func(w *changes.Writer) (*emptypb.Empty, error) {
		w.Put(cs...)
		return &emptypb.Empty{}, nil
	})
	require.NoError(t, err)
	return revision
}

func body(name, text string) changes.Change { return changes.Change{Name: name, Body: []byte(text)} }

func TestFollowerIsAFoldOfWrites(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		db := open(t, url)
		l, m, _ := follow(t, db, "a")
		model := map[string]string{}
		last := int64(0)
		name := rapid.Custom(func(t *rapid.T) string { return fmt.Sprintf("films/f%d", rapid.IntRange(0, 20).Draw(t, "film")) })
		rapid.Check(t, func(rt *rapid.T) {
			var cs []changes.Change
			for _, n := range rapid.SliceOfNDistinct(name, 1, 8, rapid.ID).Draw(rt, "names") {
				c := changes.Change{Name: n, Withdraw: rapid.Bool().Draw(rt, "withdraw")}
				if rapid.IntRange(0, 4).Draw(rt, "purge") > 0 {
					c.Body = rapid.SliceOfN(rapid.Byte(), 1, 30).Draw(rt, "body")
					model[n] = string(c.Body)
				} else {
					delete(model, n)
				}
				cs = append(cs, c)
			}
			revision := put(t, l, call("x"), cs...)
			require.Equal(rt, last+1, revision, "revisions leave no gaps")
			last = revision
			require.Equal(rt, model, m.bodies(), "the caller's next read sees its write")
		})
		_, fresh, _ := follow(t, db, "b")
		require.Equal(t, model, fresh.bodies())
		// As of the last moment, history gives the same.
		past := map[string]string{}
		revision, err := l.AsOf(t.Context(), db.Clock().Now().Add(time.Second), func(r changes.Resource) error {
			past[r.Name] = string(r.Body)
			return nil
		})
		require.NoError(t, err)
		require.Equal(t, last, revision)
		require.Equal(t, model, past)
	})
}

// Three replicas write at once. Every follower sees every revision, in order, whole.
func TestConcurrentWritersLeaveNoGaps(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		dbs := []*sqldb.DB{open(t, url)}
		if dbs[0].Postgres() {
			dbs = append(dbs, open(t, url), open(t, url))
		}
		var logs []*changes.Log
		var mirrors []*mirror
		for i, db := range dbs {
			l, m, _ := follow(t, db, fmt.Sprint("r", i))
			logs, mirrors = append(logs, l), append(mirrors, m)
		}
		const writers, each = 6, 25
		var mu sync.Mutex
		acknowledged := map[int64]bool{}
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for i := range each {
					l := logs[(w+i)%len(logs)]
					_, revision, err := changes.WriteBatch(context.Background(), l, call("x"), func(w *changes.Writer) (*emptypb.Empty, error) {
						// A counter that every writer raises: what a write reads is the newest state.
						found, err := w.Get("genres/counter")
						if err != nil {
							return nil, err
						}
						n := len(found["genres/counter"].Body)
						w.Put(body("genres/counter", string(make([]byte, n+1))), body(fmt.Sprintf("genres/g%d", n), "x"))
						return &emptypb.Empty{}, nil
					})
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					if acknowledged[revision] {
						t.Errorf("revision %d was given twice", revision)
					}
					acknowledged[revision] = true
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		require.Len(t, acknowledged, writers*each)
		for i, l := range logs {
			require.NoError(t, l.Wait(t.Context(), writers*each, 5*time.Second))
			all := mirrors[i].bodies()
			require.Len(t, all, writers*each+1)
			require.Len(t, all["genres/counter"], writers*each)
		}
		entries, err := logs[0].VerifyAudit(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 2*writers*each, entries, "P16: one audit row for each change")
	})
}

// A follower that is far behind closes the gate at once.
func TestP3_WithdrawalOvertakes(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		db := open(t, url)
		l, m, _ := follow(t, db, "a")
		m.mu.Lock()
		m.slow = 150 * time.Millisecond
		m.mu.Unlock()
		writer := changes.New(db, "importer") // does not wake the follower
		batch := func(n int) (cs []changes.Change) {
			for i := range 500 {
				cs = append(cs, body(fmt.Sprintf("films/f%d-%d", n, i), "x"))
			}
			return cs
		}
		for n := range 20 {
			put(t, writer, call("import"), batch(n)...)
		}
		start := time.Now()
		revision := put(t, writer, call("takedown"), changes.Change{Name: "films/f0-0", Body: []byte("gone"), Withdraw: true})
		require.Eventually(t, func() bool {
			m.mu.Lock()
			defer m.mu.Unlock()
			_, ok := m.withdrawn["films/f0-0"]
			return ok
		}, time.Second, time.Millisecond)
		require.Less(t, l.Applied(), revision, "the withdrawal did not wait for its turn")
		t.Logf("withdrawn after %v, %d revisions behind", time.Since(start), revision-l.Applied())
		require.NoError(t, l.Wait(t.Context(), revision, 20*time.Second))
		require.Equal(t, "gone", m.bodies()["films/f0-0"])
	})
}

func TestRequestIDGivesTheFirstAnswerAgain(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		db := open(t, url)
		l, _, stop := follow(t, db, "a")
		runs := 0
		write := func(l *changes.Log, c changes.Call, fail error) (*pb.Genre, int64, error) {
			return changes.Write(t.Context(), l, c, func(w *changes.Writer) (*pb.Genre, error) {
				if fail != nil {
					return nil, fail
				}
				runs++
				w.Put(body("genres/g", fmt.Sprint(runs)))
				return &pb.Genre{Name: "genres/g", Revision: w.Revision}, nil
			})
		}
		c := changes.Call{Actor: "ann", Method: "m", RequestID: uuid.NewString(), Args: &pb.GetFilmRequest{Name: "a"}}
		_, _, err := write(l, c, fault.Missing("x"))
		require.True(t, fault.Is(err, pb.ErrorReason_RESOURCE_NOT_FOUND), "%v", err)
		first, revision, err := write(l, c, nil)
		require.NoError(t, err, "a failure is not remembered")
		require.EqualValues(t, 1, revision)
		stop()
		other := changes.New(db, "b") // as after a crash, on another replica
		again, revision, err := write(other, c, nil)
		require.NoError(t, err)
		require.True(t, proto.Equal(first, again))
		require.EqualValues(t, 1, revision)
		require.Equal(t, 1, runs)

		changed := c
		changed.Args = &pb.GetFilmRequest{Name: "b"}
		_, _, err = write(other, changed, nil)
		require.True(t, fault.Is(err, pb.ErrorReason_REQUEST_ID_REUSED), "%v", err)
		for _, elsewhere := range []changes.Call{
			{Actor: "bob", Method: "m", RequestID: c.RequestID, Args: c.Args},
			{Actor: "ann", Method: "n", RequestID: c.RequestID, Args: c.Args},
		} {
			_, _, err = write(other, elsewhere, nil)
			require.NoError(t, err, "the scope is caller and method")
		}
		require.Equal(t, 3, runs)

		// After 24 hours it is forgotten.
		require.NoError(t, db.Write(t.Context(), func(tx *sqldb.Tx) error {
			_, err := tx.Exec("UPDATE changes_requests SET time = time - 86400000001")
			return err
		}))
		_, _, err = write(other, changed, nil)
		require.NoError(t, err)
		require.Equal(t, 4, runs)
	})
}

// The answer "nothing to do" is remembered too: a retry must not act later.
func TestRequestIDRemembersANoOp(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		l := changes.New(open(t, url), "a")
		runs := 0
		c := changes.Call{Actor: "ann", Method: "m", RequestID: uuid.NewString()}
		for range 2 {
			answer, revision, err := changes.Write(t.Context(), l, c, func(w *changes.Writer) (*pb.Genre, error) {
				runs++
				return &pb.Genre{Name: "genres/g"}, nil
			})
			require.NoError(t, err)
			require.Zero(t, revision)
			require.Equal(t, "genres/g", answer.GetName())
		}
		require.Equal(t, 1, runs)
		require.EqualValues(t, 1, put(t, l, call("x"), body("genres/g", "x")), "no revision was used up")
	})
}

// Two calls with one request_id at the same time do the work once.
func TestRequestIDInParallel(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		l := changes.New(open(t, url), "a")
		c := changes.Call{Actor: "ann", Method: "m", RequestID: uuid.NewString()}
		var wg sync.WaitGroup
		revisions := make([]int64, 8)
		for i := range revisions {
			wg.Go(func() {
				_, revision, err := changes.WriteBatch(context.Background(), l, c, func(w *changes.Writer) (*pb.Genre, error) {
					w.Put(body(fmt.Sprintf("genres/g%d", w.Revision), "x"))
					return &pb.Genre{Revision: w.Revision}, nil
				})
				if err != nil {
					t.Error(err)
				}
				revisions[i] = revision
			})
		}
		wg.Wait()
		require.Equal(t, []int64{1, 1, 1, 1, 1, 1, 1, 1}, revisions)
	})
}

func TestValidateOnlyKeepsNothing(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		db := open(t, url)
		l, m, _ := follow(t, db, "a")
		c := changes.Call{Actor: "ann", Method: "m", RequestID: uuid.NewString(), ValidateOnly: true}
		answer, revision, err := changes.Write(t.Context(), l, c, func(w *changes.Writer) (*pb.Genre, error) {
			w.Put(body("genres/g", "x"))
			return &pb.Genre{Revision: w.Revision}, nil
		})
		require.NoError(t, err)
		require.EqualValues(t, 1, answer.GetRevision())
		require.Zero(t, revision)
		c.ValidateOnly = false
		require.EqualValues(t, 1, put(t, l, c, body("genres/h", "x")))
		require.Equal(t, map[string]string{"genres/h": "x"}, m.bodies())
	})
}

func TestWriterSeesTheNewestStateAndPutsOnce(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		db := open(t, url)
		l := changes.New(db, "a")
		put(t, l, call("x"), body("films/a", "1"), body("films/b", "1"))
		_, revision, err := changes.Write(t.Context(), l, call("x"), func(w *changes.Writer) (*emptypb.Empty, error) {
			found, err := w.Get("films/b", "films/none", "films/\x00", "films/\xff")
			require.NoError(t, err)
			require.Equal(t, []string{"films/b"}, slices.Collect(maps.Keys(found)))
			w.Put(changes.Change{Name: "films/b", Body: []byte("2"), Withdraw: true}, body("films/b", "3"))
			return &emptypb.Empty{}, nil
		})
		require.NoError(t, err)
		rows, _, err := l.Changes(t.Context(), changes.Position{}, "films/", 10)
		require.NoError(t, err)
		require.Empty(t, rows, "nothing is shown here yet: nobody follows")
		history, err := l.Revisions(t.Context(), "films/b", 0, 10)
		require.NoError(t, err)
		require.Len(t, history, 2)
		require.Equal(t, "3", string(history[0].Body))
		require.Equal(t, revision, history[0].Revision)
		history, err = l.Revisions(t.Context(), "films/\x00", 0, 10)
		require.NoError(t, err)
		require.Empty(t, history)
		_, ok, err := l.At(t.Context(), "films/\xff", 1)
		require.NoError(t, err)
		require.False(t, ok)

		many := make([]changes.Change, 2000)
		for i := range many {
			many[i] = body(fmt.Sprintf("films/m%d", i), "x")
		}
		_, _, err = changes.Write(t.Context(), l, call("x"), func(w *changes.Writer) (*emptypb.Empty, error) {
			w.Put(many...)
			return &emptypb.Empty{}, nil
		})
		require.ErrorContains(t, err, "1999")
		put(t, l, call("x"), many[:1999]...)
		_, m, _ := follow(t, db, "b")
		require.Len(t, m.bodies(), 2001)
	})
}

func TestFeedResumesAnywhere(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		db := open(t, url)
		l, _, _ := follow(t, db, "a")
		want := []string{}
		for i := range 12 {
			var cs []changes.Change
			for j := range 1 + i%3 {
				name := fmt.Sprintf("films/f%d", j)
				cs = append(cs, body(name, fmt.Sprint(i)))
				want = append(want, fmt.Sprint(name, "=", i))
			}
			put(t, l, call("x"), append(cs, body("genres/g", fmt.Sprint(i)))...)
		}
		var got []string
		var at changes.Position
		for {
			rows, trimmed, err := l.Changes(t.Context(), at, "films/", 5)
			require.NoError(t, err)
			require.Zero(t, trimmed)
			if len(rows) == 0 {
				break
			}
			for _, r := range rows {
				got = append(got, fmt.Sprint(r.Name, "=", string(r.Body)))
				at = r.Position
			}
		}
		require.Equal(t, want, got)
	})
}

func TestAuditIsChained(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		db := open(t, url)
		l := changes.New(db, "a")
		for i := range 5 {
			put(t, l, changes.Call{Actor: "ann", Method: "m"}, changes.Change{Name: "films/a", Body: []byte{byte(i)}, Note: "why\x00 not \xff"})
		}
		require.NoError(t, l.AuditDenied(t.Context(), changes.Call{Actor: "eve", Method: "m"}, "films/\x00", "not allowed"))
		require.EqualValues(t, 6, put(t, l, call("m"), changes.Change{Name: "films/a"}), "a denial uses no revision")
		n, err := l.VerifyAudit(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 7, n)
		entries, err := l.AuditBefore(t.Context(), 1<<62, 10)
		require.NoError(t, err)
		require.Len(t, entries, 7)
		require.Empty(t, entries[0].GetHashAfter())
		require.Equal(t, entries[2].GetHashAfter(), entries[0].GetHashBefore())
		require.Equal(t, "eve", entries[1].GetActor())
		require.Zero(t, entries[1].GetRevision())
		for _, tamper := range []string{
			"UPDATE changes_audit SET actor = 'bob' WHERE sequence = 3",
			"UPDATE changes_audit SET actor = 'ann', note = '' WHERE sequence = 3",
			"DELETE FROM changes_audit WHERE sequence = 2",
		} {
			require.NoError(t, db.Write(t.Context(), func(tx *sqldb.Tx) error { _, err := tx.Exec(tamper); return err }))
			_, err = l.VerifyAudit(t.Context())
			require.Error(t, err, tamper)
		}
	})
}

func TestTrimKeepsWhatStillCounts(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		db := open(t, url)
		l, _, _ := follow(t, db, "a")
		for i := range 30 {
			put(t, l, call("x"), body("films/often", fmt.Sprint(i)), body(fmt.Sprintf("films/once%d", i), "x"))
		}
		put(t, l, call("x"), changes.Change{Name: "films/once3"})
		put(t, l, call("x"), body("films/often", "new"))
		// Everything but the last write is 401 days old.
		shift := (401 * 24 * time.Hour).Microseconds()
		require.NoError(t, db.Write(t.Context(), func(tx *sqldb.Tx) error {
			_, err := tx.Exec("UPDATE changes_history SET time = time - $1 WHERE revision < 32", shift)
			return err
		}))
		require.NoError(t, l.Trim(t.Context()))
		history, err := l.Revisions(t.Context(), "films/often", 0, 100)
		require.NoError(t, err)
		require.Len(t, history, 2, "the state of 400 days ago can still be told")
		require.Equal(t, "29", string(history[1].Body))
		history, err = l.Revisions(t.Context(), "films/once3", 0, 100)
		require.NoError(t, err)
		require.Empty(t, history)
		rows, trimmed, err := l.Changes(t.Context(), changes.Position{}, "films/", 100)
		require.NoError(t, err)
		require.EqualValues(t, 31, trimmed)
		require.Len(t, rows, 31)
		_, m, _ := follow(t, db, "b")
		require.Len(t, m.bodies(), 30)
		require.NoError(t, l.Trim(t.Context()), "nothing more to do")
	})
}

func TestExpiredResourcesArePurged(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		db := open(t, url)
		l, m, _ := follow(t, db, "a")
		now := db.Clock().Now()
		expiring := func(name string, in time.Duration) changes.Change {
			return changes.Change{Name: name, Body: []byte("x"), Expire: now.Add(in)}
		}
		put(t, l, call("x"), expiring("films/past", -time.Second), expiring("films/soon", time.Hour), expiring("films/saved", -time.Second), body("films/stays", "x"))
		put(t, l, call("x"), body("films/saved", "x"))
		require.NoError(t, l.Purge(t.Context()))
		require.NoError(t, l.Wait(t.Context(), 3, time.Second))
		require.Equal(t, []string{"films/saved", "films/soon", "films/stays"}, slices.Sorted(maps.Keys(m.bodies())))
		entries, err := l.AuditBefore(t.Context(), 1<<62, 1)
		require.NoError(t, err)
		require.Equal(t, "films/past", entries[0].GetResource())
		require.Equal(t, "expired", entries[0].GetNote())
	})
}

// Whoever caught up shows what any replica wrote before, or hears that this one cannot.
func TestCatchUpShowsWhatOthersWrote(t *testing.T) {
	server := theatertest.NewPostgres(t)
	a := changes.New(open(t, server.URL), "a")
	b, m, _ := follow(t, open(t, server.URL), "b")
	for i := range 10 {
		name := fmt.Sprint("films/f", i)
		revision := put(t, a, call("m"), body(name, "x"))
		require.NoError(t, b.CatchUp(t.Context(), time.Second))
		require.GreaterOrEqual(t, b.Applied(), revision)
		require.Contains(t, m.bodies(), name)
	}
	m.mu.Lock()
	m.slow = 500 * time.Millisecond
	m.mu.Unlock()
	put(t, a, call("m"), body("films/late", "x"))
	err := b.CatchUp(t.Context(), 50*time.Millisecond)
	require.True(t, fault.Is(err, pb.ErrorReason_REVISION_NOT_APPLIED), err)
	require.NoError(t, b.CatchUp(t.Context(), 10*time.Second))
	server.Pause()
	defer server.Resume()
	err = b.CatchUp(t.Context(), 50*time.Millisecond)
	require.True(t, fault.Is(err, pb.ErrorReason_STORE_UNAVAILABLE), err)
}
