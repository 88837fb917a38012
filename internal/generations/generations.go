package generations

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/singleflight"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/sqldb"
)

// World is the market of the list shared by markets without events of their own.
const World = "*"

const (
	// MaxEntries is the longest list kept; the rest of a longer one is cut off.
	MaxEntries = 16_384
	// Fill is how many films of each genre, content type and children's band a list holds at
	// least, if there are so many and it does not hold all films.
	Fill = 200
	// keepFor is how long a list stays in memory after it was replaced. A token may be as
	// young as the replacement, and is good for 15 minutes.
	keepFor = 16 * time.Minute
	// expiry is how long a list stays in Redis after its leader last confirmed it.
	expiry = 20 * time.Minute
	// budget bounds the bytes of all lists of the last keepFor, in memory and in Redis: when
	// the lists are many and long, each is replaced less often.
	budget = 512 << 20

	pollTimeout = 500 * time.Millisecond
	bulkTimeout = 2 * time.Second
	askTimeout  = 60 * time.Millisecond
	// awaitTimeout is how long a request waits for a list that the follower is about to bring.
	awaitTimeout = 250 * time.Millisecond
	// goneFor is how long a list that was nowhere is not asked for again.
	goneFor = 10 * time.Second
	// leadFor is how long after its last publication a process repairs Redis.
	leadFor = time.Minute
)

// cadence is how often Run does what; tests are in more of a hurry.
type cadence struct {
	// poll is how often the index in Redis is read, and how long the breaker stays open.
	poll time.Duration
	// scrub is how often the leader reads back what Redis holds.
	scrub time.Duration
	// sql is how often SQL is asked for the last number, whatever Redis does.
	sql time.Duration
	// stand is how long a list that Redis did not take stands in SQL before it is replaced
	// there: more than two times sql, so that every replica has read it.
	stand time.Duration
}

var usual = cadence{poll: time.Second, scrub: 15 * time.Second, sql: time.Second, stand: 3 * time.Second}

// Entry is one place of a list, best first.
type Entry struct {
	Film  string
	Score float64
	// Rank is the dense place among the films an adult could see in the market when the
	// list was computed, from 1; 0 for the others, which stand in the list all the same. Up to
	// the last entry that has one, no film is left out that somebody could see.
	Rank int32
	// Previous is Rank in the generation before, Peak the best ever; 0 = none.
	Previous, Peak int32
}

// List is one chart in one market. It never changes.
type List struct {
	Chart  string // "charts/hot"
	Market string // ISO 3166-1 alpha-2 or World
	// Number counts up over all lists of the store; set by Publish.
	Number          int64
	ChartRevisionID string
	ComputeTime     time.Time
	Entries         []Entry
	// Head is how many entries an unfiltered list may show; the rest is there so that
	// genres, content types and children's lists are filled.
	Head int
	// HalfLife says that all scores halve in this time when nothing happens; 0 = they stay.
	// Publish looks at it, so that a list in which only time passed is not a new one. It is not
	// carried to the replicas.
	HalfLife time.Duration
	// TraceID and SpanID are of the computation; zero when it was not traced.
	TraceID [16]byte
	SpanID  [8]byte
}

// item is a blob with what it says: a list, or a shard of the counts.
type item struct {
	key    id
	number int64
	list   *List
	stats  map[string]*pb.FilmStats
	body   []byte // of stats only; a list is encoded again in the rare case of need
	// head is the blob's beginning, by which a copy in Redis is recognised.
	head []byte
	// since is when this process made or fetched it; retired when it was replaced.
	since, retired time.Time
}

// Store publishes and serves lists.
type Store struct {
	db     *sqldb.DB
	client redis.UniversalClient
	secret []byte
	prefix string // of every key in Redis
	every  cadence

	latest  atomic.Pointer[map[id]*List] // swapped whole
	onStats func(map[string]*pb.FilmStats)

	publishing sync.Mutex // one publication at a time
	telling    sync.Mutex // one call of onStats at a time
	mu         sync.RWMutex
	number     int64               // of the index that current stands for
	seen       int64               // the highest number of any index, ours or in Redis
	current    map[id]*item        // lists and shards of counts
	kept       map[int64]*item     // lists by number, the current ones too
	keptBytes  int                 // estimated memory of kept
	gone       map[int64]time.Time // numbers that were nowhere
	looked     chan struct{}       // closed and replaced whenever the follower has read SQL
	names      map[string]string   // the films' names, shared by all lists

	asks    singleflight.Group
	breaker circuitbreaker.CircuitBreaker[any]
	behind  atomic.Bool  // Redis refused our last publication
	led     atomic.Int64 // UnixNano of our last publication, changed lists or not
	wake    chan struct{}
	hurry   chan struct{} // wakes the follower of SQL
	metrics *metrics
}

// New makes a store. client may be down at any time; set it up with short timeouts, without
// retries and with ContextTimeoutEnabled.
func New(db *sqldb.DB, client redis.UniversalClient, keys *auth.Keys) *Store {
	s := &Store{
		db:      db,
		client:  client,
		secret:  keys.Derive("generations", 32),
		prefix:  "theater:" + db.StoreID() + ":",
		every:   usual,
		current: map[id]*item{},
		kept:    map[int64]*item{},
		gone:    map[int64]time.Time{},
		names:   map[string]string{},
		breaker: circuitbreaker.NewBuilder[any]().WithFailureThreshold(3).WithDelay(usual.poll).Build(),
		wake:    make(chan struct{}, 1),
		hurry:   make(chan struct{}, 1),
		looked:  make(chan struct{}),
		onStats: func(map[string]*pb.FilmStats) {},
	}
	s.latest.Store(&map[id]*List{})
	s.metrics = newMetrics(s)
	return s
}

// OnStats is called with each newer set of counts; set it before Run.
func (s *Store) OnStats(f func(map[string]*pb.FilmStats)) { s.onStats = f }

// Latest gives the newest list of a chart for a market: the market's own, else the world's;
// nil when there is none. It never waits.
func (s *Store) Latest(chart, market string) *List {
	lists := *s.latest.Load()
	if l := lists[id{chart, market}]; l != nil {
		return l
	}
	return lists[id{chart, World}]
}

// At gives the list with this number: from memory (kept 15 minutes and more), else by asking
// Redis once, and then waiting a moment for the follower of SQL where the number is above all
// that this replica has heard of; nil when it is gone. market may be the viewer's where the list
// is the world's.
func (s *Store) At(ctx context.Context, chart, market string, number int64) *List {
	if l := s.Latest(chart, market); l != nil && l.Number == number {
		return l
	}
	s.mu.RLock()
	it, missed, newer := s.kept[number], s.gone[number], number > s.number
	s.mu.RUnlock()
	if it != nil {
		return it.of(chart, market)
	}
	if number <= 0 || time.Since(missed) < goneFor {
		return nil
	}
	return s.ask(ctx, chart, market, number, newer)
}

// of gives the item's list if that is what this market is shown of the chart.
func (i *item) of(chart, market string) *List {
	if i.key.chart != chart || i.key.market != market && i.key.market != World {
		return nil
	}
	return i.list
}

// Degraded is empty, or names what is missing ("redis").
func (s *Store) Degraded() string {
	if s.behind.Load() || !s.breaker.IsClosed() {
		return "redis"
	}
	return ""
}

// leading reports whether this process published lately and so keeps Redis in order.
func (s *Store) leading() bool { return time.Since(time.Unix(0, s.led.Load())) < leadFor }
