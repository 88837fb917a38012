// Package generations carries immutable, numbered ranked lists from the one leader that
// computes them to every replica that serves them: through Redis, with the latest of each
// also in SQL, so that a cold start needs no Redis.
package generations

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/sqldb"
)

// World is the market of the list shared by markets without events of their own.
const World = "*"

// Entry is one place of a list, best first.
type Entry struct {
	Film  string
	Score float64
	// Rank is the dense place among the films an adult could see in the market when the
	// list was computed, from 1; 0 for the others, which stand in the list all the same.
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
	// TraceID and SpanID are of the computation; zero when it was not traced.
	TraceID [16]byte
	SpanID  [8]byte
}

// Store publishes and serves lists.
type Store struct{}

// New makes a store. redis may be down at any time.
func New(db *sqldb.DB, client redis.UniversalClient, keys *auth.Keys) *Store {
	panic("to be written")
}

// Run loads the latest lists (from SQL at first, then by Redis) and keeps them fresh until
// ctx ends. ready is closed when the first load is done.
func (s *Store) Run(ctx context.Context, ready chan<- struct{}) error { panic("to be written") }

// Publish makes lists the latest of their chart and market if they differ from those, under
// the lease's epoch: written to SQL in one transaction, then to Redis. It gives those that
// are new, with their numbers, and retires the lists of charts and markets not in keep.
func (s *Store) Publish(ctx context.Context, lease string, epoch int64, lists []*List) ([]*List, error) {
	panic("to be written")
}

// PublishStats makes counts by film name the latest.
func (s *Store) PublishStats(ctx context.Context, lease string, epoch int64, stats map[string]*pb.FilmStats) error {
	panic("to be written")
}

// OnStats is called with each newer set of counts; set it before Run.
func (s *Store) OnStats(f func(map[string]*pb.FilmStats)) { panic("to be written") }

// Latest gives the newest list of a chart for a market: the market's own, else the world's;
// nil when there is none. It never waits.
func (s *Store) Latest(chart, market string) *List { panic("to be written") }

// At gives the list with this number: from memory (kept 15 minutes and more), else by asking
// Redis once; nil when it is gone.
func (s *Store) At(ctx context.Context, chart, market string, number int64) *List {
	panic("to be written")
}

// Degraded is empty, or names what is missing ("redis").
func (s *Store) Degraded() string { panic("to be written") }
