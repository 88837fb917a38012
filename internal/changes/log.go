package changes

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/sqldb"
)

// Log writes and follows.
type Log struct {
	db      *sqldb.DB
	replica string
	beacon  redis.UniversalClient
	strict  bool

	wake  chan struct{}
	beat  chan struct{}
	mu    sync.Mutex
	moved chan struct{} // closed and replaced whenever applied moves
	first sync.Once
	full  chan struct{} // closed when everything was loaded for the first time

	applied   atomic.Int64
	withdrawn int64 // follower only: withdrawals up to here were handed over
	store     string
	state     atomic.Pointer[state]
}

// state is what the follower last learned.
type state struct {
	loaded bool
	head   int64
	polled time.Time // last answer of the database, process time
	ahead  time.Time // since when Redis has shown a head beyond ours; zero = it does not
	cutOff bool
	// refused says that Redis answered our last beacon with a refusal: full, or read-only.
	refused bool
}

// New makes a log over a database. replica is this process's random id.
func New(db *sqldb.DB, replica string) *Log {
	l := &Log{db: db, replica: replica, wake: make(chan struct{}, 1), beat: make(chan struct{}, 1), moved: make(chan struct{}), full: make(chan struct{})}
	l.state.Store(&state{})
	return l
}

// Beacon lets replicas tell each other the head through Redis, so that one that is cut off
// from the database learns that it is stale. strict refuses viewers as soon as the database
// has been silent for a second. Call it before Follow.
func (l *Log) Beacon(client redis.UniversalClient, strict bool) {
	l.beacon, l.strict = client, strict
}

// Receipt collects the newest revision that a call's writes were given.
type Receipt struct{ revision atomic.Int64 }

// Revision is the newest revision written, 0 for none.
func (r *Receipt) Revision() int64 { return r.revision.Load() }

type receiptKey struct{}

// WithReceipt gives ctx a receipt, which Write fills.
func WithReceipt(ctx context.Context) (context.Context, *Receipt) {
	r := new(Receipt)
	return context.WithValue(ctx, receiptKey{}, r), r
}

func note(ctx context.Context, revision int64) {
	r, ok := ctx.Value(receiptKey{}).(*Receipt)
	for ok {
		old := r.revision.Load()
		if old >= revision || r.revision.CompareAndSwap(old, revision) {
			return
		}
	}
}

// Wake makes the follower poll at once.
func (l *Log) Wake() { poke(l.wake) }

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Loaded is closed when everything is in memory for the first time, and Status says so.
func (l *Log) Loaded() <-chan struct{} { return l.full }

// Applied is the newest revision this process shows.
func (l *Log) Applied() int64 { return l.applied.Load() }

// setApplied moves applied and tells those who wait.
func (l *Log) setApplied(revision int64) {
	l.mu.Lock()
	l.applied.Store(revision)
	close(l.moved)
	l.moved = make(chan struct{})
	l.mu.Unlock()
	poke(l.beat)
}

// Wait returns when this process shows revision, or with an Unavailable fault when ctx or
// limit ends first.
func (l *Log) Wait(ctx context.Context, revision int64, limit time.Duration) error {
	if l.applied.Load() >= revision {
		return nil
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		l.mu.Lock()
		moved, applied := l.moved, l.applied.Load()
		l.mu.Unlock()
		if applied >= revision {
			return nil
		}
		select {
		case <-moved:
			continue
		case <-ctx.Done():
		case <-timer.C:
		}
		return fault.New(fault.Unavailable, pb.ErrorReason_REVISION_NOT_APPLIED, "this replica shows revision %d, not yet %d; try again or ask another", l.applied.Load(), revision)
	}
}

// CatchUp returns when this process shows what the database held at the call, for whoever misses
// what another replica may have written a moment ago. It fails as Wait does, or with the
// database's fault where that does not answer within limit.
func (l *Log) CatchUp(ctx context.Context, limit time.Duration) error {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var head int64
	err := l.db.Read(limited, func(tx *sqldb.Tx) (err error) {
		head, _, err = readHead(tx)
		return err
	})
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return fault.StoreUnavailable(err)
	}
	if err != nil || l.applied.Load() >= head {
		return err
	}
	l.Wake()
	return l.Wait(limited, head, limit)
}

// Status is how far this process has come and what it lacks.
type Status struct {
	// Ready says that viewers may be served: everything was loaded once, and the process is
	// not cut off.
	Ready bool
	// CutOff says that newer state exists which this process cannot read; it must refuse
	// viewers.
	CutOff bool
	// Degraded is empty, or "sql" when the database does not answer or takes no writes.
	Degraded string
	// RedisRefuses says that Redis answers and takes no writes.
	RedisRefuses bool
	// Applied is the newest revision shown, Head the newest known.
	Applied, Head int64
}

// Status gives the state of now; it never waits.
func (l *Log) Status() Status {
	s := l.state.Load()
	out := Status{Ready: s.loaded && !s.cutOff, CutOff: s.cutOff, Applied: l.applied.Load(), Head: s.head, RedisRefuses: s.refused}
	if s.loaded && (l.db.Down() || l.db.ReadOnly() || time.Since(s.polled) > time.Second) {
		out.Degraded = "sql"
	}
	if l.strict && s.loaded && time.Since(s.polled) > time.Second {
		out.Ready, out.CutOff = false, true
	}
	return out
}

// change replaces the state by an edited copy.
func (l *Log) change(edit func(s *state)) {
	for {
		old := l.state.Load()
		s := *old
		edit(&s)
		if l.state.CompareAndSwap(old, &s) {
			return
		}
	}
}
