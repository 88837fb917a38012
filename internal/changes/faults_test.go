package changes_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/emptypb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/changes"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/sqldb"
	"github.com/aitheater/theater/internal/theatertest"
)

// writeUntilKilled is the other process of TestP1: it writes and says what was acknowledged
// until it is killed. In any other process it does nothing.
func writeUntilKilled() {
	url := os.Getenv("CHANGES_TEST_WRITE")
	if url == "" {
		return
	}
	db, err := sqldb.Open(context.Background(), url)
	if err != nil {
		fmt.Println("open:", err)
		os.Exit(1)
	}
	l := changes.New(db, "victim")
	for {
		id := uuid.NewString()
		_, revision, err := changes.Write(context.Background(), l, changes.Call{Actor: "ann", Method: "m", RequestID: id},
			func(w *changes.Writer) (*pb.Genre, error) {
				w.Put(body("genres/"+id, id), body("genres/newest", id))
				return &pb.Genre{Revision: w.Revision}, nil
			})
		if err != nil {
			fmt.Println("write:", err)
			os.Exit(1)
		}
		fmt.Println(id, revision)
	}
}

func TestP1_AcknowledgedWritesSurviveKill(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		acknowledged := map[string]int64{}
		for range 5 {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "CHANGES_TEST_WRITE="+url)
			out, err := cmd.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			lines := bufio.NewScanner(out)
			for n := 5 + rand.IntN(60); lines.Scan(); n-- {
				var id string
				var revision int64
				_, err := fmt.Sscan(lines.Text(), &id, &revision)
				require.NoError(t, err, lines.Text())
				acknowledged[id] = revision
				if n == 0 {
					require.NoError(t, cmd.Process.Kill())
				}
			}
			require.Error(t, cmd.Wait())
		}
		db := open(t, url)
		l, m, _ := follow(t, db, "a")
		all := m.bodies()
		newest := int64(0)
		for id, revision := range acknowledged {
			require.Equal(t, id, all["genres/"+id])
			newest = max(newest, revision)
			// Asked again, the answer is the one that was given.
			answer, again, err := changes.Write(t.Context(), l, changes.Call{Actor: "ann", Method: "m", RequestID: id},
				func(*changes.Writer) (*pb.Genre, error) { return nil, fault.Missing("it ran again") })
			require.NoError(t, err)
			require.Equal(t, revision, again)
			require.Equal(t, revision, answer.GetRevision())
		}
		// At most the last write of each life was stored and not acknowledged.
		require.GreaterOrEqual(t, l.Applied(), newest)
		require.LessOrEqual(t, len(all)-1, len(acknowledged)+5)
		entries, err := l.VerifyAudit(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 2*(len(all)-1), entries)
	})
}

func TestP1_AcknowledgedWritesSurviveAnImmediateStopOfPostgres(t *testing.T) {
	server := theatertest.NewPostgres(t)
	db := open(t, server.URL)
	l, m, _ := follow(t, db, "a")
	want := map[string]string{}
	for round := range 3 {
		stop := time.AfterFunc(time.Duration(20+rand.IntN(100))*time.Millisecond, server.Kill)
		for i := 0; ; i++ {
			name := fmt.Sprintf("genres/g%d-%d", round, i)
			_, _, err := changes.WriteBatch(t.Context(), l, call("x"), func(w *changes.Writer) (*emptypb.Empty, error) {
				w.Put(body(name, name))
				return &emptypb.Empty{}, nil
			})
			if err != nil {
				require.True(t, fault.Is(err, pb.ErrorReason_STORE_UNAVAILABLE), "%v", err)
				want[name] = "?"
				break
			}
			want[name] = name
		}
		stop.Stop()
		server.Kill()
		server.Start(t)
		require.Eventually(t, func() bool { return l.Status().Degraded == "" && !db.Down() }, 30*time.Second, 10*time.Millisecond)
		require.Eventually(t, func() bool { s := l.Status(); return s.Applied == s.Head }, 30*time.Second, 10*time.Millisecond)
		time.Sleep(300 * time.Millisecond)
		all := m.bodies()
		for name, text := range want {
			if text == "?" { // not acknowledged: either way is right
				delete(all, name)
				continue
			}
			require.Equal(t, text, all[name], name)
		}
	}
}

func TestP10_ReadsGoOnAndWritesFailFastWithoutSQL(t *testing.T) {
	server := theatertest.NewPostgres(t)
	db := open(t, server.URL)
	l, m, _ := follow(t, db, "a")
	put(t, l, call("x"), body("genres/a", "1"))
	for name, outage := range map[string]func(){"stop": server.Stop, "pause": server.Pause, "kill": server.Kill} {
		began := time.Now()
		outage()
		for i := range 10 {
			start := time.Now()
			_, _, err := changes.Write(t.Context(), l, call("x"), func(w *changes.Writer) (*emptypb.Empty, error) {
				w.Put(body("genres/lost", "1"))
				return &emptypb.Empty{}, nil
			})
			require.True(t, fault.Is(err, pb.ErrorReason_STORE_UNAVAILABLE), "%s %d: %v", name, i, err)
			require.Less(t, time.Since(start), 4*time.Second, "%s: 500 ms and what a busy machine adds", name)
		}
		require.Eventually(t, func() bool { return l.Status().Degraded == "sql" }, 30*time.Second, 10*time.Millisecond, name)
		t.Logf("%s: degraded after %v", name, time.Since(began))
		status := l.Status()
		require.True(t, status.Ready)
		require.False(t, status.CutOff, "cut off from everything it serves on")
		require.Equal(t, "1", m.bodies()["genres/a"])
		if name == "pause" {
			server.Resume()
		} else {
			server.Start(t)
		}
		began = time.Now()
		require.Eventually(t, func() bool {
			_, _, err := changes.WriteBatch(t.Context(), l, call("x"), func(w *changes.Writer) (*emptypb.Empty, error) {
				w.Put(body("genres/back", name))
				return &emptypb.Empty{}, nil
			})
			return err == nil
		}, 30*time.Second, 20*time.Millisecond, name)
		require.Eventually(t, func() bool { return l.Status().Degraded == "" && m.bodies()["genres/back"] == name }, 30*time.Second, 20*time.Millisecond, name)
		t.Logf("%s: back after %v", name, time.Since(began))
	}
}

func TestARestartWithoutSQLIsNotReady(t *testing.T) {
	server := theatertest.NewPostgres(t)
	proxy := theatertest.NewProxy(t, server.Addr)
	db := open(t, proxy.URL(server.URL))
	proxy.BlackHole()
	l, m := changes.New(db, "a"), newMirror(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Follow(ctx, m) }()
	defer func() { cancel(); require.NoError(t, <-done) }()
	time.Sleep(time.Second)
	require.False(t, l.Status().Ready)
	err := l.Wait(t.Context(), 1, 10*time.Millisecond)
	require.True(t, fault.Is(err, pb.ErrorReason_REVISION_NOT_APPLIED), "%v", err)
	proxy.Heal()
	require.Eventually(t, func() bool { return l.Status().Ready }, 30*time.Second, 10*time.Millisecond)
}

// One replica loses its line to SQL while another goes on.
func TestP4_CutOff(t *testing.T) {
	for _, strict := range []bool{false, true} {
		t.Run(fmt.Sprint("strict=", strict), func(t *testing.T) {
			redis := theatertest.NewRedis(t)
			url := theatertest.Postgres(t)
			addr := strings.Split(strings.Split(url, "@")[1], "/")[0]
			proxy := theatertest.NewProxy(t, addr)
			near, far := open(t, url), open(t, proxy.URL(url))
			start := func(db *sqldb.DB, name string) *changes.Log {
				client := theatertest.RedisClient(redis.URL)
				t.Cleanup(func() { _ = client.Close() })
				l := changes.New(db, name)
				l.Beacon(client, strict)
				run(t, l, newMirror(t))
				return l
			}
			a, b := start(near, "a"), start(far, "b")
			revision := put(t, a, call("x"), body("genres/a", "1"))
			require.NoError(t, b.Wait(t.Context(), revision, 30*time.Second))
			require.Eventually(t, func() bool { return b.Status().Ready }, 30*time.Second, 5*time.Millisecond)

			proxy.BlackHole()
			cut := time.Now()
			if !strict {
				// Nothing newer is known: it serves on.
				time.Sleep(2 * time.Second)
				require.True(t, b.Status().Ready)
				require.Eventually(t, func() bool { return b.Status().Degraded == "sql" }, 30*time.Second, 10*time.Millisecond)
			}
			put(t, a, call("x"), changes.Change{Name: "genres/a", Body: []byte("2"), Withdraw: true})
			told := time.Now()
			limit := 10 * time.Second // 5 s and what a busy machine adds
			if strict {
				told, limit = cut, 5*time.Second // 1 s and what a busy machine adds
			}
			require.Eventually(t, func() bool { s := b.Status(); return s.CutOff && !s.Ready }, 30*time.Second, 5*time.Millisecond)
			require.Less(t, time.Since(told), limit)
			t.Logf("cut off after %v", time.Since(told))
			require.False(t, a.Status().CutOff)
			confirmed, pending, lost := a.Confirm(t.Context(), a.Applied(), 300*time.Millisecond)
			require.Equal(t, []int{1, 1, 0}, []int{confirmed, pending, lost})

			proxy.Heal()
			require.Eventually(t, func() bool { return b.Status().Ready && b.Applied() == a.Applied() }, 30*time.Second, 5*time.Millisecond)
			require.False(t, b.Status().CutOff)
			confirmed, pending, lost = a.Confirm(t.Context(), a.Applied(), 30*time.Second)
			require.Equal(t, []int{2, 0, 0}, []int{confirmed, pending, lost})

			// Redis gone as well: serve on, unless strict.
			redis.Kill()
			proxy.Cut()
			time.Sleep(1500 * time.Millisecond)
			require.Eventually(t, func() bool { s := b.Status(); return s.Ready == !strict && s.Degraded == "sql" }, 30*time.Second, 10*time.Millisecond)
		})
	}
}

func TestConfirmCountsReplicas(t *testing.T) {
	url := theatertest.Postgres(t)
	dbs := []*sqldb.DB{open(t, url), open(t, url), open(t, url)}
	a, _, _ := follow(t, dbs[0], "a")
	_, slow, _ := follow(t, dbs[1], "b")
	_, _, stop := follow(t, dbs[2], "c")
	revision := put(t, a, call("x"), body("genres/a", "1"))
	confirmed, pending, lost := a.Confirm(t.Context(), revision, 30*time.Second)
	require.Equal(t, []int{3, 0, 0}, []int{confirmed, pending, lost})
	slow.mu.Lock()
	slow.slow = time.Second
	slow.mu.Unlock()
	stop()
	revision = put(t, a, call("x"), body("genres/a", "2"))
	began := time.Now()
	confirmed, pending, lost = a.Confirm(t.Context(), revision, 400*time.Millisecond)
	require.Equal(t, []int{1, 2, 0}, []int{confirmed, pending, lost})
	require.Less(t, time.Since(began), 10*time.Second)
	// One that has been silent for half a minute is not waited for.
	require.NoError(t, dbs[0].Write(t.Context(), func(tx *sqldb.Tx) error {
		_, err := tx.Exec("UPDATE changes_replicas SET seen = seen - 31000000 WHERE id = 'c'")
		return err
	}))
	confirmed, pending, lost = a.Confirm(t.Context(), revision, 30*time.Second)
	require.Equal(t, []int{2, 0, 1}, []int{confirmed, pending, lost})
	replicas, err := a.Replicas(t.Context())
	require.NoError(t, err)
	require.Len(t, replicas, 3)
	require.NoError(t, changes.New(dbs[0], "c").Leave(t.Context()))
	replicas, err = a.Replicas(t.Context())
	require.NoError(t, err)
	require.Len(t, replicas, 2)
}

// A store that was put back to an earlier state, or replaced, is loaded from the beginning.
func TestAnotherHistoryIsReloaded(t *testing.T) {
	url := theatertest.Postgres(t)
	db := open(t, url)
	l, m, _ := follow(t, db, "a")
	for i := range 5 {
		put(t, l, call("x"), body(fmt.Sprintf("genres/g%d", i), "x"))
	}
	change := func(statements ...string) {
		t.Helper()
		require.NoError(t, db.Write(t.Context(), func(tx *sqldb.Tx) error {
			for _, s := range statements {
				if _, err := tx.Exec(s); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	change("DELETE FROM changes_resources WHERE revision > 3", "DELETE FROM changes_history WHERE revision > 3", "UPDATE changes_head SET revision = 3")
	require.Eventually(t, func() bool { return len(m.bodies()) == 3 && l.Applied() == 3 }, 30*time.Second, 5*time.Millisecond)
	change("UPDATE changes_history SET body = 'y'", "UPDATE sqldb_settings SET value = 'another store id' WHERE name = 'store_id'")
	require.Eventually(t, func() bool { return m.bodies()["genres/g0"] == "y" }, 30*time.Second, 5*time.Millisecond)
	// A follower so far behind that its rows were trimmed reads everything again too.
	change("UPDATE changes_history SET body = 'z', revision = 8 WHERE name = 'genres/g0'", "UPDATE changes_resources SET revision = 8 WHERE name = 'genres/g0'", "UPDATE changes_head SET revision = 9, trimmed = 9")
	require.Eventually(t, func() bool { return m.bodies()["genres/g0"] == "z" && l.Applied() == 9 }, 30*time.Second, 5*time.Millisecond)
}

func BenchmarkImport(b *testing.B) {
	for name, url := range map[string]func(testing.TB) string{"sqlite": theatertest.SQLite, "postgres": theatertest.Postgres} {
		b.Run(name, func(b *testing.B) {
			db := open(b, url(b))
			l, _, _ := follow(b, db, "a")
			text := make([]byte, 1024)
			start := time.Now()
			films := 0
			for b.Loop() {
				_, revision, err := changes.WriteBatch(b.Context(), l, call("import"), func(w *changes.Writer) (*emptypb.Empty, error) {
					names := make([]string, 500)
					for i := range names {
						names[i] = fmt.Sprintf("films/f%d", films+i)
					}
					if _, err := w.Get(names...); err != nil {
						return nil, err
					}
					for _, name := range names {
						w.Put(changes.Change{Name: name, Body: text})
					}
					return &emptypb.Empty{}, nil
				})
				require.NoError(b, err)
				films += 500
				_ = revision
			}
			b.ReportMetric(float64(films)/time.Since(start).Seconds(), "films/s")
		})
	}
}
