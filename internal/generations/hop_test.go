package generations

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/aitheater/theater/internal/theatertest"
)

// TestP8_ChainsHopBetweenReplicasWhateverRedisDoes begins chains on either of two replicas and
// goes on with them on the other, at once and again and again, while lists are published five
// times a second, by the one and then by the other: no list is ever missing that was shown.
func TestP8_ChainsHopBetweenReplicasWhateverRedisDoes(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		x, server := newTheater(t, url), theatertest.NewRedis(t)
		client := theatertest.RedisClient(server.URL)
		t.Cleanup(func() { client.Close() })
		var replicas [2]*Store
		for i := range replicas {
			replicas[i] = x.stopped(server.URL)
			replicas[i].every = cadence{poll: 50 * time.Millisecond, scrub: 200 * time.Millisecond, sql: 100 * time.Millisecond, stand: 600 * time.Millisecond}
			x.start(replicas[i])
		}
		var published, hops, missed atomic.Int64
		publish := func(s *Store) {
			published.Add(int64(len(x.publish(s, chart("hot", "US", fmt.Sprint("n", published.Load()))))))
		}
		publish(replicas[0])
		sees(t, replicas[1], "hot", "US", 1)

		ctx, cancel := context.WithCancel(t.Context())
		var readers sync.WaitGroup
		defer readers.Wait()
		defer cancel()
		for i := range 4 {
			readers.Go(func() {
				for n := i; ctx.Err() == nil; n++ {
					number := replicas[n%2].Latest("charts/hot", "US").Number
					for page := range 1 + n%20 {
						hops.Add(1)
						if replicas[(n+1+page)%2].At(t.Context(), "charts/hot", "US", number) == nil {
							missed.Add(1)
						}
						time.Sleep(5 * time.Millisecond)
					}
				}
			})
		}
		serve := func(what string) {
			t.Helper()
			was := published.Load()
			for _, s := range replicas {
				for end := time.Now().Add(800 * time.Millisecond); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
					publish(s)
				}
			}
			assert.Zero(t, missed.Swap(0), what)
			t.Logf("%s: %d generations, %d hops", what, published.Load()-was, hops.Swap(0))
		}
		full := func(bytes string) { require.NoError(t, client.ConfigSet(t.Context(), "maxmemory", bytes).Err()) }
		serve("well")
		server.Kill()
		serve("killed")
		server.Start(t)
		serve("back")
		server.Pause()
		serve("paused")
		server.Resume()
		serve("back")
		full("1")
		serve("out of memory")
		full("0")
		serve("back")
	})
}

func TestP8_AListThatRedisDidNotTakeIsFoundInSQL(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		x, nobody := newTheater(t, url), "redis://127.0.0.1:1"
		leader, other := x.stopped(nobody), x.stopped(nobody)
		other.every.sql = time.Hour // no poll by the clock helps
		ctx, stop := context.WithCancel(context.Background())
		var follower sync.WaitGroup
		follower.Go(func() { other.followSQL(ctx) })
		defer follower.Wait()
		defer stop()
		x.publish(leader, chart("hot", World, "a"), chart("hot", "US", "b"))
		assert.Equal(t, "films/a", other.At(t.Context(), "charts/hot", "DE", 1).Entries[0].Film)
		assert.Equal(t, "films/b", other.At(t.Context(), "charts/hot", "US", 2).Entries[0].Film)
		assert.Nil(t, other.At(t.Context(), "charts/new", "US", 1), "a number is one list, not any")
		x.publish(leader, chart("hot", World, "a"), chart("hot", "US", "c"))
		assert.NotNil(t, other.At(t.Context(), "charts/hot", "US", 3))
		assert.Nil(t, other.At(t.Context(), "charts/hot", "US", 4), "there is none")
		assert.NotNil(t, other.At(t.Context(), "charts/hot", "US", 2), "and what was replaced is kept")
	})
}

func TestP8_AListThatIsNowhereIsKeptWhenItArrives(t *testing.T) {
	x := newTheater(t, theatertest.SQLite(t))
	addr := theatertest.Redis(t)
	leader, other := x.stopped(addr), x.stopped(addr)
	require.Nil(t, other.At(t.Context(), "charts/hot", "US", 1))
	x.publish(leader, chart("hot", "US", "a"))
	require.NoError(t, other.loadSQL(t.Context()))
	assert.NotNil(t, other.At(t.Context(), "charts/hot", "US", 1))
}

// A list that a request fetched before a poll did must not run out while it is shown, nor
// 16 minutes after the request instead of after it was replaced.
func TestP8_AListAskedForAheadOfThePollIsKeptAsLongAsTheOthers(t *testing.T) {
	x := newTheater(t, theatertest.SQLite(t))
	addr := theatertest.Redis(t)
	leader, other := x.stopped(addr), x.stopped(addr)
	x.publish(leader, chart("hot", "US", "a"))
	require.NotNil(t, other.At(t.Context(), "charts/hot", "US", 1))
	other.poll(t.Context())
	require.Same(t, other.kept[1], other.current[id{"charts/hot", "US"}])
	other.mu.Lock()
	other.trim(time.Now().Add(keepFor + time.Minute))
	other.mu.Unlock()
	assert.NotNil(t, other.kept[1])
	x.publish(leader, chart("hot", "US", "b"))
	other.poll(t.Context())
	assert.WithinDuration(t, time.Now(), other.kept[1].retired, time.Minute)
}

// Redis is full, and answers: what it says is stale, not wrong.
func TestP8_AListThatRedisDidNotTakeStandsUntilAllHaveReadIt(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		x, addr := newTheater(t, url), theatertest.Redis(t)
		client := theatertest.RedisClient(addr)
		t.Cleanup(func() { client.Close() })
		const stand = 700 * time.Millisecond
		leader, next, replica := x.stopped(addr), x.stopped(addr), x.stopped(addr)
		leader.every.stand, next.every.stand = stand, stand
		replica.every.poll = time.Hour
		x.start(replica)
		taken := func(s *Store, film string) time.Duration {
			began := time.Now()
			require.Len(t, x.publish(s, chart("hot", "US", film)), 1)
			return time.Since(began)
		}
		taken(leader, "a")
		assert.Less(t, taken(leader, "b"), stand, "Redis has the one before")
		require.NoError(t, client.ConfigSet(t.Context(), "maxmemory", "1").Err())
		assert.Less(t, taken(leader, "c"), stand, "Redis has the one before")
		assert.GreaterOrEqual(t, taken(leader, "d"), stand-50*time.Millisecond)
		assert.GreaterOrEqual(t, taken(next, "e"), stand-50*time.Millisecond, "another leader, that knows of none of them")
		sees(t, replica, "hot", "US", 5)
		for n := int64(1); n <= 5; n++ {
			assert.NotNil(t, replica.At(t.Context(), "charts/hot", "US", n), "generation %d", n)
		}
	})
}
