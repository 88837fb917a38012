package theatertest

import (
	"bufio"
	"context"
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRedisIsFreshAndComesBackEmpty(t *testing.T) {
	s := NewRedis(t)
	c := RedisClient(s.URL)
	defer c.Close()
	ctx := t.Context()
	require.NoError(t, c.Set(ctx, "k", "v", 0).Err())
	s.Pause()
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	require.Error(t, c.Get(short, "k").Err())
	s.Resume()
	require.Equal(t, "v", c.Get(ctx, "k").Val())
	s.Kill()
	require.Error(t, c.Get(ctx, "k").Err())
	s.Start(t)
	require.Empty(t, c.Get(ctx, "k").Val())
}

func TestPostgresDatabasesAreApart(t *testing.T) {
	a, b := Postgres(t), Postgres(t)
	require.NoError(t, execute(a, "CREATE TABLE x (n BIGINT)"))
	require.Error(t, execute(b, "SELECT n FROM x"))
}

func TestPostgresSurvivesKillAndPause(t *testing.T) {
	s := NewPostgres(t)
	require.NoError(t, execute(s.URL, "CREATE TABLE x (n BIGINT)"))
	c, err := pgx.Connect(t.Context(), s.URL)
	require.NoError(t, err)
	s.Pause()
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = c.Exec(short, "SELECT n FROM x")
	require.Error(t, err)
	s.Resume()
	s.Kill()
	require.Error(t, execute(s.URL, "SELECT n FROM x"))
	s.Start(t)
	require.NoError(t, execute(s.URL, "SELECT n FROM x"))
	_ = c.Close(t.Context())
}

func TestProxyFaults(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for r := bufio.NewReader(c); ; {
					line, err := r.ReadBytes('\n')
					if err != nil {
						return
					}
					_, _ = c.Write(line)
				}
			}()
		}
	}()
	p := NewProxy(t, l.Addr().String())
	dial := func() net.Conn {
		c, err := net.Dial("tcp", p.Addr)
		require.NoError(t, err)
		return c
	}
	echo := func(c net.Conn, within time.Duration) (string, error) {
		_ = c.SetDeadline(time.Now().Add(within))
		if _, err := c.Write([]byte("abcdefghi\n")); err != nil {
			return "", err
		}
		b := make([]byte, 10)
		n, err := c.Read(b)
		return string(b[:n]), err
	}
	c := dial()
	defer func() { c.Close() }()
	got, err := echo(c, time.Second)
	require.NoError(t, err)
	require.Equal(t, "abcdefghi\n", got)

	p.Delay(50 * time.Millisecond)
	start := time.Now()
	_, err = echo(c, time.Second)
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Since(start), 100*time.Millisecond)

	p.Throttle(100)
	start = time.Now()
	_, err = echo(c, time.Second)
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Since(start), 190*time.Millisecond)

	p.Corrupt()
	got, err = echo(c, time.Second)
	require.NoError(t, err)
	require.NotEqual(t, "abcdefghi\n", got)

	p.BlackHole()
	_, err = echo(c, 50*time.Millisecond)
	require.Error(t, err)
	p.Heal()
	require.NoError(t, c.SetDeadline(time.Now().Add(time.Second)))
	late, err := bufio.NewReader(c).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "abcdefghi\n", late)
	c.Close()

	c = dial()
	_, err = echo(c, time.Second)
	require.NoError(t, err)
	p.Reset()
	_, err = echo(c, time.Second)
	require.Error(t, err)
	c.Close()
	p.Cut()
	c = dial()
	_, err = echo(c, time.Second)
	require.Error(t, err)
	c.Close()
	p.Heal()
	c = dial()
	_, err = echo(c, time.Second)
	require.NoError(t, err)
}
