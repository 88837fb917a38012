package generations

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/sqldb"
	"github.com/aitheater/theater/internal/theatertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// brisk is the usual cadence, but for tests.
var brisk = cadence{poll: 50 * time.Millisecond, scrub: 200 * time.Millisecond, sql: 50 * time.Millisecond, stand: 150 * time.Millisecond}

// lease is the leader's.
const lease = "rank"

// theater is one database and the stores of several replicas over it.
type theater struct {
	t     testing.TB
	db    *sqldb.DB
	keys  *auth.Keys
	epoch int64
}

func newTheater(t testing.TB, url string) *theater {
	db, err := sqldb.Open(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	keys, err := auth.NewKeys(bytes.Repeat([]byte{1}, 32))
	require.NoError(t, err)
	x := &theater{t: t, db: db, keys: keys}
	x.lead("first")
	return x
}

// lead makes holder the leader.
func (x *theater) lead(holder string) {
	require.Eventually(x.t, func() bool {
		epoch, held, err := x.db.Lease(x.t.Context(), lease, holder, 30*time.Second)
		x.epoch = epoch
		return err == nil && held
	}, 30*time.Second, 10*time.Millisecond)
}

// replica starts a store by way of a Redis address, and stops it with the test.
func (x *theater) replica(redisURL string) *Store {
	return x.start(x.stopped(redisURL))
}

// start runs a store until the test ends.
func (x *theater) start(s *Store) *Store {
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- s.Run(ctx, ready) }()
	x.t.Cleanup(func() { cancel(); assert.NoError(x.t, <-done) })
	select {
	case <-ready:
	case <-time.After(30 * time.Second):
		require.Fail(x.t, "the first load does not end")
	}
	return s
}

// stopped is a replica that does not run.
func (x *theater) stopped(redisURL string) *Store {
	client := theatertest.RedisClient(redisURL)
	x.t.Cleanup(func() { client.Close() })
	s := New(x.db, client, x.keys)
	s.every = brisk
	return s
}

func (x *theater) publish(s *Store, lists ...*List) []*List {
	fresh, err := s.Publish(x.t.Context(), lease, x.epoch, lists)
	require.NoError(x.t, err)
	return fresh
}

// chart makes a list whose films stand in the given order.
func chart(name, market string, films ...string) *List {
	l := &List{Chart: "charts/" + name, Market: market, ChartRevisionID: "1", ComputeTime: time.Now().UTC().Truncate(time.Microsecond), Head: len(films), Entries: []Entry{}}
	for i, f := range films {
		l.Entries = append(l.Entries, Entry{Film: "films/" + f, Score: float64(len(films) - i), Rank: int32(i + 1)})
	}
	return l
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, 30*time.Second, 5*time.Millisecond, what)
}

// sees waits until the replica's latest list has this number.
func sees(t testing.TB, s *Store, name, market string, number int64) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s in %s becomes %d", name, market, number), func() bool {
		l := s.Latest("charts/"+name, market)
		return l != nil && l.Number == number
	})
}

func TestPublish_numbersCountUpAndOnlyWhatDiffersIsNew(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		x := newTheater(t, url)
		s := x.replica(theatertest.Redis(t))
		first := x.publish(s, chart("hot", "US", "a", "b"), chart("hot", World, "b"))
		require.Len(t, first, 2)
		assert.ElementsMatch(t, []int64{1, 2}, []int64{first[0].Number, first[1].Number})

		us := s.Latest("charts/hot", "US")
		assert.Empty(t, x.publish(s, chart("hot", "US", "a", "b"), chart("hot", World, "b")), "the same lists again")
		assert.Same(t, us, s.Latest("charts/hot", "US"))

		second := x.publish(s, chart("hot", "US", "b", "a"), chart("hot", World, "b"))
		require.Len(t, second, 1)
		assert.EqualValues(t, 3, second[0].Number)
		assert.EqualValues(t, 3, s.Latest("charts/hot", "US").Number)
		assert.Equal(t, World, s.Latest("charts/hot", "DE").Market, "a market without a list has the world's")
		assert.Nil(t, s.Latest("charts/none", "US"))

		require.Empty(t, x.publish(s, chart("hot", World, "b")), "a list that is left out is retired")
		assert.Equal(t, World, s.Latest("charts/hot", "US").Market)
		assert.NotNil(t, s.At(t.Context(), "charts/hot", "US", 3), "and is still there for its tokens")
	})
}

func TestPublish_aDeposedLeaderChangesNothing(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		x := newTheater(t, url)
		addr := theatertest.Redis(t)
		a, b := x.replica(addr), x.replica(addr)
		old := x.epoch
		_, held, err := x.db.Lease(t.Context(), lease, "first", time.Millisecond)
		require.NoError(t, err)
		require.True(t, held)
		time.Sleep(20 * time.Millisecond)
		x.lead("second")
		x.publish(b, chart("hot", "US", "a"))
		_, err = a.Publish(t.Context(), lease, old, []*List{chart("hot", "US", "z")})
		require.Error(t, err)
		require.Error(t, a.PublishStats(t.Context(), lease, old, map[string]*pb.FilmStats{"films/z": {Plays: 1}}))
		sees(t, a, "hot", "US", 1)
		assert.Equal(t, "films/a", a.Latest("charts/hot", "US").Entries[0].Film)
	})
}

func TestPublish_aNewLeaderContinuesTheListsOfTheOld(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		x := newTheater(t, url)
		addr := theatertest.Redis(t)
		x.publish(x.stopped(addr), chart("hot", "US", "a", "b"), chart("new", "US", "c"))
		b := x.stopped(addr) // has not even loaded
		fresh := x.publish(b, chart("hot", "US", "a", "b"), chart("new", "US", "d"))
		require.Len(t, fresh, 1, "it knows from SQL what the old one published")
		assert.EqualValues(t, 3, fresh[0].Number)
		assert.EqualValues(t, 1, b.Latest("charts/hot", "US").Number)
	})
}

func TestReplicasFollowThroughRedis(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		x := newTheater(t, url)
		addr := theatertest.Redis(t)
		leader, replica := x.replica(addr), x.stopped(addr)
		replica.every = cadence{poll: time.Hour, scrub: time.Hour, sql: time.Hour} // only a message wakes it
		x.start(replica)
		time.Sleep(100 * time.Millisecond) // it subscribes, which is one more wake-up
		l := chart("hot", "US", "a", "b")
		l.TraceID, l.SpanID = [16]byte{1}, [8]byte{2}
		l.Entries[1].Previous, l.Entries[1].Peak = 7, 2
		x.publish(leader, l)
		sees(t, replica, "hot", "US", 1)
		want := *l
		assert.Equal(t, &want, replica.Latest("charts/hot", "US"), "every field arrives")
		assert.Empty(t, replica.Degraded())
	})
}

func TestNumbersAreNotReusedByADatabaseThatLostItsLastMoments(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		x := newTheater(t, url)
		addr := theatertest.Redis(t)
		old := x.replica(addr)
		x.publish(old, chart("hot", "US", "a"))
		x.publish(old, chart("hot", "US", "b"))
		x.publish(old, chart("hot", "US", "c"))
		require.NoError(t, x.db.Write(t.Context(), func(tx *sqldb.Tx) error { // as of the first
			if _, err := tx.Exec(`UPDATE generations_head SET number = 1`); err != nil {
				return err
			}
			return writeItem(tx, id{"charts/hot", "US"}, 1, old.blobAgain(old.kept[1]))
		}))
		leader := x.replica(addr)
		eventually(t, "the new leader has seen Redis", func() bool {
			leader.mu.RLock()
			defer leader.mu.RUnlock()
			return leader.seen == 3
		})
		fresh := x.publish(leader, chart("hot", "US", "d"))
		assert.EqualValues(t, 4, fresh[0].Number)
		sees(t, old, "hot", "US", 4)
		sees(t, leader, "hot", "US", 4)
		assert.Equal(t, "films/b", old.At(t.Context(), "charts/hot", "US", 2).Entries[0].Film)
	})
}

func TestColdStartNeedsNoRedis(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		x := newTheater(t, url)
		server := theatertest.NewRedis(t)
		leader := x.stopped(server.URL)
		x.publish(leader, chart("hot", "US", "a"))
		require.NoError(t, leader.PublishStats(t.Context(), lease, x.epoch, map[string]*pb.FilmStats{"films/a": {Plays: 5}}))
		server.Kill()
		counts := make(chan map[string]*pb.FilmStats, 10)
		late := x.stopped(server.URL)
		late.OnStats(func(m map[string]*pb.FilmStats) { counts <- m })
		ctx, cancel := context.WithCancel(t.Context())
		ready, done := make(chan struct{}), make(chan error, 1)
		began := time.Now()
		go func() { done <- late.Run(ctx, ready) }()
		<-ready
		assert.Less(t, time.Since(began), 2*time.Second)
		assert.EqualValues(t, 1, late.Latest("charts/hot", "US").Number)
		assert.EqualValues(t, 5, (<-counts)["films/a"].GetPlays())
		eventually(t, "it says that Redis is missing", func() bool { return late.Degraded() == "redis" })
		cancel()
		require.NoError(t, <-done)
	})
}

func TestP8_ReplacedListsStayForFifteenMinutes(t *testing.T) {
	x := newTheater(t, theatertest.SQLite(t))
	addr := theatertest.Redis(t)
	leader := x.replica(addr)
	const generations = 40
	for i := range generations {
		x.publish(leader, chart("hot", "US", fmt.Sprint("film-", i)))
	}
	young := x.replica(addr) // has seen none of them but the last
	for n := int64(1); n <= generations; n++ {
		for _, s := range []*Store{leader, young} {
			l := s.At(t.Context(), "charts/hot", "US", n)
			require.NotNil(t, l, "generation %d", n)
			assert.Equal(t, fmt.Sprint("films/film-", n-1), l.Entries[0].Film)
		}
	}
	assert.Nil(t, leader.At(t.Context(), "charts/new", "US", 1), "a number is one list, not any")
	assert.Nil(t, leader.At(t.Context(), "charts/hot", "DE", 1))
	assert.Nil(t, leader.At(t.Context(), "charts/hot", "US", generations+1))
	assert.Nil(t, leader.At(t.Context(), "charts/hot", "US", -1))

	client := theatertest.RedisClient(addr)
	defer client.Close()
	for n := int64(1); n <= generations; n++ {
		left, err := client.TTL(t.Context(), leader.redisKey(id{"charts/hot", "US"}, n)).Result()
		require.NoError(t, err)
		assert.Greater(t, left, 15*time.Minute, "in Redis they run out, but not before")
		assert.LessOrEqual(t, left, expiry)
	}
	age := func(by time.Duration) {
		leader.mu.Lock()
		defer leader.mu.Unlock()
		leader.kept[1].retired = time.Now().Add(-by)
		leader.trim(time.Now())
	}
	age(15 * time.Minute)
	assert.NotNil(t, leader.kept[1])
	age(keepFor + time.Second)
	assert.Nil(t, leader.kept[1])
}

func TestRedisCommandsDoNotGrowWithRequests(t *testing.T) {
	x := newTheater(t, theatertest.SQLite(t))
	addr := theatertest.Redis(t)
	s := x.replica(addr)
	x.publish(s, chart("hot", "US", "a"))
	x.publish(s, chart("hot", "US", "b"))
	client := theatertest.RedisClient(addr)
	defer client.Close()
	count := func() (n int) {
		info, err := client.InfoMap(t.Context(), "stats").Result()
		require.NoError(t, err)
		_, err = fmt.Sscan(info["Stats"]["total_commands_processed"], &n)
		require.NoError(t, err)
		return n
	}
	before, began := count(), time.Now()
	for range 20_000 {
		require.NotNil(t, s.Latest("charts/hot", "US"))
		require.NotNil(t, s.At(t.Context(), "charts/hot", "US", 1))
		require.Nil(t, s.At(t.Context(), "charts/hot", "US", 77), "gone")
	}
	polls := int(time.Since(began)/brisk.poll) + 2
	assert.LessOrEqual(t, count()-before, 3+12*polls)
	assert.Less(t, polls, 1000, "or the figure above says nothing")
}

func TestStatsTravelInShards(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		x := newTheater(t, url)
		addr := theatertest.Redis(t)
		leader, replica := x.stopped(addr), x.stopped(addr)
		counts := make(chan map[string]*pb.FilmStats, 100)
		replica.OnStats(func(m map[string]*pb.FilmStats) { counts <- m })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		ready := make(chan struct{})
		go func() { done <- replica.Run(ctx, ready) }()
		<-ready
		stats := map[string]*pb.FilmStats{}
		for i := range 1000 {
			stats[fmt.Sprint("films/f", i)] = &pb.FilmStats{Plays: int64(i)}
		}
		await := func(want map[string]*pb.FilmStats) {
			t.Helper()
			eventually(t, "the counts arrive", func() bool {
				got := <-counts
				if len(got) != len(want) {
					return false
				}
				for film, s := range want {
					if got[film].GetPlays() != s.GetPlays() {
						return false
					}
				}
				return true
			})
		}
		require.NoError(t, leader.PublishStats(ctx, lease, x.epoch, stats))
		await(stats)
		number := leader.number
		require.NoError(t, leader.PublishStats(ctx, lease, x.epoch, stats))
		assert.Equal(t, number, leader.number, "the same counts are not new")
		stats["films/f7"] = &pb.FilmStats{Plays: 4711}
		require.NoError(t, leader.PublishStats(ctx, lease, x.epoch, stats))
		assert.Equal(t, number+1, leader.number, "one film moves one shard")
		await(stats)
		x.publish(leader, chart("hot", "US", "a")) // does not retire the counts
		sees(t, replica, "hot", "US", number+2)
		delete(stats, "films/f7")
		require.NoError(t, leader.PublishStats(ctx, lease, x.epoch, stats))
		await(stats)
		cancel()
		require.NoError(t, <-done)
	})
}

func TestMemoryIsBounded(t *testing.T) {
	x := newTheater(t, theatertest.SQLite(t))
	s := x.stopped("redis://127.0.0.1:1")
	assert.Zero(t, s.interval())
	one := (&item{list: &List{Entries: make([]Entry, 3000)}}).bytes()
	for i := range 300 {
		s.current[id{"charts/hot", fmt.Sprint(i)}] = &item{list: &List{Entries: make([]Entry, 3000)}}
	}
	assert.InDelta(t, float64(keepFor)*300*float64(one)/budget, float64(s.interval()), float64(time.Second))
	assert.Less(t, s.interval(), 70*time.Second, "doc.go states it")

	for i := range int64(40) { // what a sudden growth of all lists could bring
		s.kept[i] = &item{number: i, list: &List{Entries: make([]Entry, 500_000)}, retired: time.Now().Add(time.Duration(i-60) * time.Second)}
		s.keptBytes += s.kept[i].bytes()
	}
	s.mu.Lock()
	s.trim(time.Now())
	s.mu.Unlock()
	assert.LessOrEqual(t, s.keptBytes, budget)
	assert.Nil(t, s.kept[0], "the oldest go first")
	assert.NotNil(t, s.kept[39])

	long := chart("hot", "US")
	long.Entries = make([]Entry, MaxEntries+5)
	long.Head = MaxEntries + 5
	fresh := x.publish(s, long)
	assert.Len(t, fresh[0].Entries, MaxEntries)
	assert.Equal(t, MaxEntries, fresh[0].Head)
}

// TestRedisMemoryIsAsStated measures what Redis takes for long lists against doc.go.
func TestRedisMemoryIsAsStated(t *testing.T) {
	x := newTheater(t, theatertest.SQLite(t))
	addr := theatertest.Redis(t)
	s := x.stopped(addr)
	client := theatertest.RedisClient(addr)
	defer client.Close()
	used := func() (n int) {
		info, err := client.InfoMap(t.Context(), "memory").Result()
		require.NoError(t, err)
		_, err = fmt.Sscan(info["Memory"]["used_memory"], &n)
		require.NoError(t, err)
		return n
	}
	before := used()
	var lists []*List
	const entries = 3000
	for m := range 20 {
		l := chart("hot", fmt.Sprintf("%c%c", 'A'+m/26, 'A'+m%26))
		for i := range entries {
			l.Entries = append(l.Entries, Entry{Film: fmt.Sprintf("films/film-with-an-id-%04d", i), Score: 1 / float64(i+1), Rank: int32(i + 1), Previous: int32(i + 2), Peak: 1})
		}
		lists = append(lists, l)
	}
	x.publish(s, lists...)
	perEntry := float64(used()-before) / (20 * entries)
	t.Logf("%.1f bytes an entry in Redis for ids of 20 bytes", perEntry)
	assert.Less(t, perEntry, 24.0+20, "doc.go: up to 24 bytes and the id")
}

// poison writes under the store's own names.
func poison(t *testing.T, client redis.UniversalClient, s *Store, write func(key string) error) {
	t.Helper()
	keys, err := client.Keys(t.Context(), s.prefix+"*").Result()
	require.NoError(t, err)
	require.NotEmpty(t, keys)
	for _, key := range keys {
		require.NoError(t, write(key))
	}
}
