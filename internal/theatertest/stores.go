package theatertest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// SQLite gives the URL of a database file that does not exist yet, in the test's folder.
func SQLite(t testing.TB) string {
	return "sqlite:" + filepath.Join(t.TempDir(), "theater.db")
}

// EachStore runs a test on SQLite and on PostgreSQL, each fresh.
func EachStore(t *testing.T, test func(t *testing.T, url string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { test(t, SQLite(t)) })
	t.Run("postgres", func(t *testing.T) { test(t, Postgres(t)) })
}

// Redis starts a Redis server for this test and gives its URL.
func Redis(t testing.TB) string {
	t.Helper()
	return NewRedis(t).URL
}

// NewRedis starts a Redis server without persistence that the test may stop and start: what
// it held is then gone.
func NewRedis(t testing.TB) *Server {
	t.Helper()
	binary, err := find("redis-server", "redis-server")
	if err != nil {
		t.Fatal(err)
	}
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(addr)
	dir := t.TempDir()
	s := &Server{
		URL: "redis://" + addr, Addr: addr, dir: dir, sys: &syscall.SysProcAttr{Setpgid: true},
		argv: []string{binary, "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", dir},
		ready: func(ctx context.Context) error {
			c := RedisClient("redis://" + addr)
			defer c.Close()
			return c.Ping(ctx).Err()
		},
	}
	t.Cleanup(s.Stop)
	s.Start(t)
	return s
}

// What the client library prints of connections refused would bury what a test has to say.
func init() { redis.SetLogger(silent{}) }

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// RedisClient gives a client with the short timeouts and no retries the service uses; the
// caller closes it. It panics on a URL that does not parse.
func RedisClient(url string) *redis.Client {
	o, err := redis.ParseURL(url)
	if err != nil {
		panic(err)
	}
	o.MaxRetries, o.DialerRetries, o.ContextTimeoutEnabled, o.DisableIdentity = -1, 1, true, true
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout = time.Second, time.Second, time.Second
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return redis.NewClient(o)
}

// WrongType puts a list in the place of a Redis key's value, in one step: a server that writes
// the key all the while writes before or after, never between.
func WrongType(ctx context.Context, client redis.UniversalClient, key string) error {
	_, err := client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Del(ctx, key)
		p.LPush(ctx, key, "x")
		return nil
	})
	return err
}

// Poison puts foreign values in the place of all that a Redis holds: by turns one of the wrong
// type, and these bytes.
func Poison(t testing.TB, client redis.UniversalClient, foreign string) {
	t.Helper()
	ctx := t.Context()
	keys, err := client.Keys(ctx, "*").Result()
	for i, key := range keys {
		if i%2 == 0 {
			err = errors.Join(err, WrongType(ctx, client, key))
		} else {
			err = errors.Join(err, client.Set(ctx, key, foreign, 0).Err())
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Postgres gives the URL of a fresh database, dropped after the test, on the one server of
// this test process. The server allows 300 connections.
func Postgres(t testing.TB) string {
	t.Helper()
	s, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	name := "test_" + strings.ToLower(rand.Text())
	if err := execute(s.URL, "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := execute(s.URL, "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Errorf("dropping the test database: %v", err)
		}
	})
	return strings.Replace(s.URL, "/postgres?", "/"+name+"?", 1)
}

var shared = sync.OnceValues(func() (*Server, error) {
	s, err := preparePostgres()
	if err != nil {
		return nil, err
	}
	s.remove = true
	return s, s.start()
})

// NewPostgres starts a PostgreSQL server of the test's own, which it may stop, kill, pause
// and start again.
func NewPostgres(t testing.TB) *Server {
	t.Helper()
	s, err := preparePostgres()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Stop()
		_ = os.RemoveAll(s.dir)
	})
	s.Start(t)
	return s
}

// preparePostgres makes the data folder. PostgreSQL refuses to run as root: it runs as
// nobody then.
func preparePostgres() (*Server, error) {
	globs := []string{"/usr/lib/postgresql/*/bin", "/opt/homebrew/opt/postgresql@*/bin", "/usr/local/opt/postgresql@*/bin"}
	initdb, err := find("initdb", "postgresql", globs...)
	if err != nil {
		return nil, err
	}
	postgres, err := find("postgres", "postgresql", globs...)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "theater-postgres-")
	if err != nil {
		return nil, err
	}
	sys := &syscall.SysProcAttr{Setpgid: true}
	if os.Getuid() == 0 {
		const nobody = 65534
		sys.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
		if err := os.Chown(dir, nobody, nobody); err != nil {
			return nil, err
		}
	}
	data := filepath.Join(dir, "data")
	cmd := exec.Command(initdb, "-D", data, "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8", "--locale=C")
	cmd.SysProcAttr, cmd.Dir = sys, dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("theatertest: initdb: %w\n%s", err, out)
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(addr)
	url := fmt.Sprintf("postgres://postgres@%s/postgres?sslmode=disable", addr)
	return &Server{
		URL: url, Addr: addr, dir: dir, sys: sys,
		argv: []string{postgres, "-D", data, "-p", port, "-k", dir, "-F", "-c", "listen_addresses=127.0.0.1",
			"-c", "max_connections=300", "-c", "shared_buffers=64MB"},
		ready: func(context.Context) error { return execute(url, "SELECT 1") },
	}, nil
}

// execute runs one statement on a connection of its own.
func execute(url, statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	_, err = c.Exec(ctx, statement)
	if e := c.Close(ctx); err == nil {
		err = e
	}
	return err
}
