package ledger

import (
	"context"
	"errors"
	"slices"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/sqldb"
)

// Viewer is a viewer's hash. Those of children are made with a key that dies with the day.
type Viewer [16]byte

// Event is one row of the log.
type Event struct {
	// Seq is the place in the log, from 1; set by Append.
	Seq int64
	// Day is the UTC day of Occur, in days since 1970.
	Day      int32
	Kind     pb.Event_Kind
	Audience pb.Viewer_Audience
	Viewer   Viewer
	// Market is an ISO 3166-1 alpha-2 code, Film is "films/{film}".
	Market, Film string
	// Value is watched seconds for PLAY, 0.5 to 5 for RATE, else 0.
	Value float64
	// Occur and Receipt are in microseconds since 1970; Receipt is set by Append.
	Occur, Receipt int64
}

// MicrosPerDay is the length of a UTC day, as Event.Occur counts.
const MicrosPerDay = 86_400_000_000

// DayOf gives the UTC day of a time in microseconds since 1970, also before 1970.
func DayOf(micros int64) int32 {
	day := micros / MicrosPerDay
	if micros%MicrosPerDay < 0 {
		day--
	}
	return int32(day)
}

// Purge says that below Seq every row of viewer Old now says New.
type Purge struct {
	Seq      int64
	Old, New Viewer
}

// Batch is a piece of the log, read in one snapshot.
type Batch struct {
	// Events are in sequence.
	Events []Event
	// Purges are those above the position asked for, in sequence; see the package comment.
	Purges []Purge
	// Traces are W3C traceparents of calls that brought the events: a sample.
	Traces []string
	// Through is where the batch ends: the next one begins after it. It may be beyond the last
	// event, because purges take a number too and retention leaves holes.
	Through int64
	// Head is the last number given out.
	Head int64
}

var errBegun = errors.New("ledger: the stream broke off and cannot begin anew")

// Ledger reads and writes the log.
type Ledger struct{ db *sqldb.DB }

// New gives the ledger of a database.
func New(db *sqldb.DB) *Ledger { return &Ledger{db: db} }

// Append writes events durably, in order, as one piece of the log, and sets their Seq and
// Receipt. traces are traceparents of sampled calls behind them. It either stores all of the
// events or fails with a fault; after a failure of the connection they may be stored all the
// same.
func (l *Ledger) Append(ctx context.Context, events []Event, traces []string) error {
	if len(events) == 0 {
		return nil
	}
	return l.db.Write(ctx, func(tx *sqldb.Tx) error { return appendRows(tx, events, traces) })
}

// Head is the last sequence number given out; 0 for an empty log.
func (l *Ledger) Head(ctx context.Context) (head int64, err error) {
	err = l.db.Read(ctx, func(tx *sqldb.Tx) error {
		head, err = readHead(tx)
		return err
	})
	return head, err
}

// After reads up to limit events above seq.
func (l *Ledger) After(ctx context.Context, seq int64, limit int) (*Batch, error) {
	b := &Batch{}
	err := l.db.Read(ctx, func(tx *sqldb.Tx) (err error) {
		b, err = readBatch(tx, seq, limit)
		return err
	})
	return b, err
}

// Span gives the first and last day that events happened on; last is before first when there
// are none.
func (l *Ledger) Span(ctx context.Context) (first, last int32, err error) {
	err = l.db.Read(ctx, func(tx *sqldb.Tx) error {
		first, last, err = readSpan(tx)
		return err
	})
	return first, last, err
}

// Days streams a market's events ("" = all markets) of the days from..to (both inclusive) that
// stand at or below through, day by day (days without events cost nothing), each in sequence.
// The event is reused between calls of fn; an error of fn ends the stream. Everything is read
// in one snapshot, and nothing is handed over twice.
func (l *Ledger) Days(ctx context.Context, from, to int32, through int64, market string, fn func(*Event) error) error {
	begun := false
	return l.db.Read(ctx, func(tx *sqldb.Tx) error {
		if begun {
			return errBegun
		}
		begun = true
		return eachOfDays(tx, from, to, through, market, fn)
	})
}

// Back streams the events of some films at or below through, day by day backwards from a day on,
// each film in sequence. more is called after each day that has events and says whether to go on.
// The event is reused between calls of fn. One snapshot.
func (l *Ledger) Back(ctx context.Context, from int32, through int64, films []string, fn func(*Event) error, more func(day int32) bool) error {
	begun := false
	return l.db.Read(ctx, func(tx *sqldb.Tx) error {
		if begun {
			return errBegun
		}
		begun = true
		for day, found, err := dayBefore(tx, from); ; day, found, err = dayBefore(tx, day-1) {
			if err != nil || !found {
				return err
			}
			for part := range slices.Chunk(films, 1000) {
				if err := eachOfFilms(tx, day, through, part, fn); err != nil {
					return err
				}
			}
			if !more(day) {
				return nil
			}
		}
	})
}

// All streams a market's events at or below through in sequence ("" = all markets). The event
// is reused between calls of fn; an error of fn ends the stream. One snapshot.
func (l *Ledger) All(ctx context.Context, market string, through int64, fn func(*Event) error) error {
	return l.db.Read(ctx, func(tx *sqldb.Tx) error { return eachOfMarket(tx, market, through, fn) })
}

// Forget removes what only a fold below or at seq still needed: purges and traces. A fold
// calls it in the transaction of its checkpoint.
func (l *Ledger) Forget(tx *sqldb.Tx, seq int64) error { return forget(tx, seq) }
