package sqldb_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/sqldb"
	"github.com/aitheater/theater/internal/theatertest"
)

func TestMain(m *testing.M) {
	if url := os.Getenv("SQLDB_TEST_OPEN"); url != "" {
		_, err := sqldb.Open(context.Background(), url)
		fmt.Println(err)
		os.Exit(0)
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

// table makes a table of the test's own.
func table(t testing.TB, db *sqldb.DB) {
	t.Helper()
	require.NoError(t, db.Write(t.Context(), func(tx *sqldb.Tx) error {
		_, err := tx.Exec("CREATE TABLE notes (id BIGINT NOT NULL PRIMARY KEY, body BYTEA, text TEXT NOT NULL)")
		return err
	}))
}

func count(t testing.TB, db *sqldb.DB) (n int) {
	t.Helper()
	require.NoError(t, db.Read(t.Context(), func(tx *sqldb.Tx) error {
		return tx.QueryRow("SELECT count(*) FROM notes").Scan(&n)
	}))
	return n
}

func TestSettingsOutliveTheProcess(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		a, err := sqldb.Open(t.Context(), url)
		require.NoError(t, err)
		id, secret := a.StoreID(), a.RootSecret()
		require.Len(t, id, 32)
		require.Len(t, secret, 32)
		require.NoError(t, a.Close())
		b := open(t, url)
		require.Equal(t, id, b.StoreID())
		require.Equal(t, secret, b.RootSecret())
		require.NoError(t, b.Read(t.Context(), func(tx *sqldb.Tx) error {
			require.Equal(t, id, tx.StoreID())
			return nil
		}))
	})
}

func TestSeveralStartersMigrateOnce(t *testing.T) {
	url := theatertest.Postgres(t)
	var wg sync.WaitGroup
	ids := make([]string, 4)
	for i := range ids {
		wg.Go(func() {
			db, err := sqldb.Open(t.Context(), url)
			if err == nil {
				ids[i] = db.StoreID()
				err = db.Close()
			}
			if err != nil {
				ids[i] = err.Error()
			}
		})
	}
	wg.Wait()
	for _, id := range ids {
		require.Len(t, id, 32, id)
		require.Equal(t, ids[0], id)
	}
}

func TestSecondProcessIsRefusedWithTheReason(t *testing.T) {
	url := theatertest.SQLite(t)
	open(t, url)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "SQLDB_TEST_OPEN="+url)
	out, err := cmd.Output()
	require.NoError(t, err)
	require.Contains(t, string(out), fmt.Sprintf("open in another process (pid %d)", os.Getpid()))
	require.Contains(t, string(out), "postgres://")
}

func TestOddPathsAndBadURLs(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b?c#d%20é")
	require.NoError(t, os.Mkdir(dir, 0o700))
	open(t, "sqlite:"+filepath.Join(dir, "x&y.db"))
	_, err := os.Stat(filepath.Join(dir, "x&y.db"))
	require.NoError(t, err)
	for _, url := range []string{"", "sqlite:", "mysql://x", "sqlite::memory:", "postgres://%zz", "sqlite:" + dir, "postgres://nobody@127.0.0.1:1/x"} {
		_, err := sqldb.Open(t.Context(), url)
		require.Error(t, err, url)
	}
}

func TestWriteCommitsOrLeavesNothing(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		db := open(t, url)
		table(t, db)
		require.NoError(t, db.Write(t.Context(), func(tx *sqldb.Tx) error {
			var values []any
			for i := range 1234 {
				values = append(values, i, []byte{byte(i), 0, 255}, "text")
			}
			return tx.Insert("notes (id, body, text)", 3, values, "ON CONFLICT (id) DO NOTHING")
		}))
		require.Equal(t, 1234, count(t, db))
		mine := errors.New("mine")
		err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
			n, err := tx.Exec("DELETE FROM notes")
			require.NoError(t, err)
			require.EqualValues(t, 1234, n)
			return mine
		})
		require.Same(t, mine, err)
		require.Equal(t, 1234, count(t, db))
		require.NoError(t, db.Read(t.Context(), func(tx *sqldb.Tx) error {
			var body []byte
			require.NoError(t, tx.QueryRow("SELECT body FROM notes WHERE id = $1", 7).Scan(&body))
			require.Equal(t, []byte{7, 0, 255}, body)
			return nil
		}))
	})
}

func TestReadCannotWriteAndSeesOneSnapshot(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		db := open(t, url)
		table(t, db)
		require.Error(t, db.Read(t.Context(), func(tx *sqldb.Tx) error {
			_, err := tx.Exec("INSERT INTO notes (id, text) VALUES (1, '')")
			return err
		}))
		require.NoError(t, db.Read(t.Context(), func(tx *sqldb.Tx) error {
			var before, after int
			require.NoError(t, tx.QueryRow("SELECT count(*) FROM notes").Scan(&before))
			require.NoError(t, db.Write(t.Context(), func(tx *sqldb.Tx) error {
				_, err := tx.Exec("INSERT INTO notes (id, text) VALUES (1, '')")
				return err
			}))
			require.NoError(t, tx.QueryRow("SELECT count(*) FROM notes").Scan(&after))
			require.Equal(t, before, after)
			return nil
		}))
	})
}

// Many writers who each read a counter and add to it lose nothing, whatever order they take
// the rows in: conflicts are tried again.
func TestWritersAreRetried(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		db := open(t, url)
		table(t, db)
		require.NoError(t, db.Write(t.Context(), func(tx *sqldb.Tx) error {
			return tx.Insert("notes (id, text)", 2, []any{1, "0", 2, "0"}, "")
		}))
		const each = 10 // PostgreSQL takes a second to notice a deadlock
		var wg sync.WaitGroup
		for i := range 2 {
			wg.Go(func() {
				for range each {
					ids := []int{1, 2}
					if i%2 == 1 {
						ids = []int{2, 1} // the other way round: deadlocks
					}
					err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
						for _, id := range ids {
							if _, err := tx.Exec("UPDATE notes SET text = CAST(CAST(text AS BIGINT) + 1 AS TEXT) WHERE id = $1", id); err != nil {
								return err
							}
						}
						return nil
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		require.NoError(t, db.Read(t.Context(), func(tx *sqldb.Tx) error {
			var a, b string
			require.NoError(t, tx.QueryRow("SELECT text FROM notes WHERE id = 1").Scan(&a))
			require.NoError(t, tx.QueryRow("SELECT text FROM notes WHERE id = 2").Scan(&b))
			require.Equal(t, fmt.Sprint(2*each), a)
			require.Equal(t, a, b)
			return nil
		}))
	})
}

func TestWriteGoesOnWhenItsCallerLeaves(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		db := open(t, url)
		table(t, db)
		ctx, cancel := context.WithCancel(t.Context())
		require.NoError(t, db.Write(ctx, func(tx *sqldb.Tx) error {
			cancel()
			_, err := tx.Exec("INSERT INTO notes (id, text) VALUES (1, '')")
			return err
		}))
		require.Equal(t, 1, count(t, db))
		err := db.Read(ctx, func(tx *sqldb.Tx) error { return nil })
		require.True(t, fault.Is(err, pb.ErrorReason_CANCELLED), "%v", err)
	})
}

func TestOurOwnMistakesAreNotCalledAnOutage(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		db := open(t, url)
		err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
			_, err := tx.Exec("SELEKT 1")
			return err
		})
		require.Error(t, err)
		require.Nil(t, fault.As(err))
		require.Error(t, db.Write(t.Context(), func(tx *sqldb.Tx) error {
			return tx.Insert("notes (id, text)", 2, []any{1}, "")
		}))
	})
}

func TestLeaseChangesHandsOnce(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		db := open(t, url)
		ctx := t.Context()
		lease := func(holder string, ttl time.Duration) (int64, bool) {
			epoch, held, err := db.Lease(ctx, "rank", holder, ttl)
			require.NoError(t, err)
			return epoch, held
		}
		guard := func(epoch int64) error {
			return db.Write(ctx, func(tx *sqldb.Tx) error { return tx.Guard("rank", epoch) })
		}
		first, held := lease("a", 1500*time.Millisecond)
		require.True(t, held)
		require.NoError(t, guard(first))
		_, held = lease("b", time.Minute)
		require.False(t, held)
		renewed, held := lease("a", 1500*time.Millisecond)
		require.True(t, held)
		require.Equal(t, first, renewed)
		time.Sleep(1550 * time.Millisecond)
		second, held := lease("b", time.Minute)
		require.True(t, held)
		require.Equal(t, first+1, second)
		require.ErrorIs(t, guard(first), sqldb.ErrLeaseLost)
		require.NoError(t, guard(second))
		_, held = lease("a", time.Minute)
		require.False(t, held)
		_, held = lease("b", 0)
		require.False(t, held)
		third, held := lease("a", time.Minute)
		require.True(t, held)
		require.Equal(t, second+1, third)
	})
}

// writeWithin tries a write and gives how long it took.
func writeOnce(db *sqldb.DB, id int) (time.Duration, error) {
	start := time.Now()
	err := db.Write(context.Background(), func(tx *sqldb.Tx) error {
		_, err := tx.Exec("INSERT INTO notes (id, text) VALUES ($1, '') ON CONFLICT (id) DO NOTHING", id)
		return err
	})
	return time.Since(start), err
}

func TestP10_WritesFailFastWhileSQLIsAway(t *testing.T) {
	server := theatertest.NewPostgres(t)
	db := open(t, server.URL)
	table(t, db)
	refused := func(t *testing.T, what string) {
		t.Helper()
		worst := time.Duration(0)
		defer func() { t.Logf("refused within %v: %s", worst, what) }()
		for i := range 5 {
			took, err := writeOnce(db, 1000+i)
			require.True(t, fault.Is(err, pb.ErrorReason_STORE_UNAVAILABLE), "%s: %v", what, err)
			require.Less(t, took, 4*time.Second, "%s: 500 ms and what a busy machine adds", what)
			worst = max(worst, took)
		}
	}
	back := func(t *testing.T, what string) {
		t.Helper()
		start := time.Now()
		for id := 1; ; id++ {
			_, err := writeOnce(db, id)
			if err == nil {
				break
			}
			require.Less(t, time.Since(start), 30*time.Second, "%s: %v", what, err)
			time.Sleep(20 * time.Millisecond)
		}
		t.Logf("back after %s: %v", what, time.Since(start))
	}
	back(t, "start")
	server.Pause()
	refused(t, "pause")
	server.Resume()
	back(t, "pause")
	server.Stop()
	refused(t, "stop")
	server.Start(t)
	back(t, "stop")
	server.Kill()
	refused(t, "kill")
	server.Start(t)
	back(t, "kill")
}

func TestP10_BrokenLines(t *testing.T) {
	server := theatertest.NewPostgres(t)
	proxy := theatertest.NewProxy(t, server.Addr)
	db := open(t, proxy.URL(server.URL))
	table(t, db)
	proxy.BlackHole()
	took, err := writeOnce(db, 1)
	require.True(t, fault.Is(err, pb.ErrorReason_STORE_UNAVAILABLE), "%v", err)
	require.Less(t, took, 4*time.Second, "500 ms and what a busy machine adds")
	proxy.Heal()
	require.Eventually(t, func() bool { _, err := writeOnce(db, 2); return err == nil }, 30*time.Second, 20*time.Millisecond)
	proxy.Reset()
	_, err = writeOnce(db, 3)
	require.NoError(t, err, "a connection that died in the pool is not the caller's problem")
	// Slow is not down: every statement takes 100 ms more.
	proxy.Delay(50 * time.Millisecond)
	_, err = writeOnce(db, 4)
	require.NoError(t, err)
	proxy.Cut()
	_, err = writeOnce(db, 5)
	require.True(t, fault.Is(err, pb.ErrorReason_STORE_UNAVAILABLE), "%v", err)
}

// A writer who waits for a lock is no sign of an outage.
func TestWaitingForALockIsNotDown(t *testing.T) {
	url := theatertest.Postgres(t)
	db := open(t, url)
	table(t, db)
	_, err := writeOnce(db, 1)
	require.NoError(t, err)
	locked, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = db.Write(context.Background(), func(tx *sqldb.Tx) error {
			_, err := tx.Exec("UPDATE notes SET text = 'x' WHERE id = 1")
			close(locked)
			<-release
			return err
		})
	})
	<-locked
	time.AfterFunc(1200*time.Millisecond, func() { close(release) })
	start := time.Now()
	require.NoError(t, db.Write(t.Context(), func(tx *sqldb.Tx) error {
		_, err := tx.Exec("UPDATE notes SET text = 'y' WHERE id = 1")
		return err
	}))
	require.Greater(t, time.Since(start), time.Second)
	wg.Wait()
}

func TestClockFollowsTheDatabase(t *testing.T) {
	c := sqldb.NewClock()
	require.WithinDuration(t, time.Now(), c.Now(), time.Second)
	local := time.Now()
	ahead := local.Add(time.Hour)
	c.Observe(local, ahead, local.Add(2*time.Millisecond))
	require.WithinDuration(t, ahead, c.Now(), 100*time.Millisecond)
	// A slow answer that agrees says nothing new; one that cannot be true of the same clock does.
	c.Observe(local, ahead.Add(400*time.Millisecond), local.Add(time.Second))
	require.WithinDuration(t, ahead, c.Now(), 100*time.Millisecond)
	c.Observe(local, ahead.Add(-2*time.Hour), local.Add(time.Second))
	require.WithinDuration(t, ahead.Add(-2*time.Hour), c.Now(), 2*time.Second)
}

func TestStatementTextsDoNotDependOnTheValues(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		db := open(t, url)
		table(t, db)
		hostile := "'); DROP TABLE notes; --" + strings.Repeat("é", 10)
		require.NoError(t, db.Write(t.Context(), func(tx *sqldb.Tx) error {
			return tx.Insert("notes (id, body, text)", 3, []any{1, bytes.Repeat([]byte{0}, 9), hostile}, "")
		}))
		require.Equal(t, 1, count(t, db))
	})
}

// A version before this one runs beside it, and may be gone back to, on a database that the
// newer one has migrated: so to this one on a database from the future.
func TestP18_ADatabaseFromTheFutureOpens(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		db, err := sqldb.Open(t.Context(), url)
		require.NoError(t, err)
		id := db.StoreID()
		require.NoError(t, db.Write(t.Context(), func(tx *sqldb.Tx) error {
			for _, statement := range []string{
				"CREATE TABLE future_things (id BIGINT NOT NULL PRIMARY KEY)",
				"ALTER TABLE changes_history ADD COLUMN future TEXT NOT NULL DEFAULT ''",
				"INSERT INTO goose_db_version (version_id, is_applied) VALUES (9000, " + map[bool]string{true: "true", false: "1"}[db.Postgres()] + ")",
			} {
				if _, err := tx.Exec(statement); err != nil {
					return err
				}
			}
			return nil
		}))
		require.NoError(t, db.Close())
		require.Equal(t, id, open(t, url).StoreID())
	})
}
