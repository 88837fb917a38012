package rank

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/changes"
	"github.com/aitheater/theater/internal/generations"
	"github.com/aitheater/theater/internal/ledger"
	"github.com/aitheater/theater/internal/shelf"
	"github.com/aitheater/theater/internal/sqldb"
)

// Config is how the ranker works; the zero value is right for production.
type Config struct {
	// Interval is the least time between two generations; 0 = 10 s.
	Interval time.Duration
	// Tick is how often the ledger is looked at; 0 = 1 s, or Interval if that is shorter.
	Tick time.Duration
	// Lease is how long a leader that went silent stays leader; 0 = five intervals, but from 2 to
	// 10 s.
	Lease time.Duration
	// Checkpoint is how often the state is stored while events come in: what a new leader has to
	// fold again; 0 = three intervals.
	Checkpoint time.Duration
}

func (c Config) filled() Config {
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	set(&c.Interval, 10*time.Second)
	set(&c.Tick, min(time.Second, c.Interval))
	set(&c.Lease, min(max(5*c.Interval, 2*time.Second), 10*time.Second))
	set(&c.Checkpoint, 3*c.Interval)
	return c
}

// Service is ChartService and the ranker.
type Service struct {
	pb.UnimplementedChartServiceServer

	// Config may be set before Run.
	Config Config

	db      *sqldb.DB
	log     *changes.Log
	shelf   *shelf.Shelf
	gens    *generations.Store
	keys    *auth.Keys
	clock   *sqldb.Clock
	ledger  *ledger.Ledger
	builtin []*pb.Chart
	holder  string        // of the lease
	heavy   chan struct{} // holds one for each call that reads the whole ledger

	// leading says that this process has the lease; behind is how many events it has not
	// folded, as of its last look at the ledger.
	leading atomic.Bool
	behind  atomic.Int64
}

// Progress says whether this process ranks, and how many events it then has still to fold.
func (s *Service) Progress() (leading bool, behind int64) {
	return s.leading.Load(), s.behind.Load()
}

// New makes the service; Run makes it rank.
func New(db *sqldb.DB, log *changes.Log, sh *shelf.Shelf, gens *generations.Store, keys *auth.Keys) *Service {
	return &Service{
		db: db, log: log, shelf: sh, gens: gens, keys: keys, clock: db.Clock(), ledger: ledger.New(db),
		builtin: builtIn(), holder: uuid.NewString(), heavy: make(chan struct{}, 2),
	}
}

// watermarkAt gives how far the ledger was folded for the lists computed at a time; its head
// where nobody remembers.
func (s *Service) watermarkAt(ctx context.Context, at int64) (watermark int64, err error) {
	var found bool
	err = s.db.Read(ctx, func(tx *sqldb.Tx) error {
		watermark, found, err = readRun(tx, at)
		return err
	})
	if err == nil && !found {
		return s.ledger.Head(ctx)
	}
	return watermark, err
}
