// Package changes is the one way to write: it appends to the store's history inside a
// transaction and follows that history into memory.
//
// Every editable thing (film, genre, chart, section, layout, release) is a resource: a name
// and the bytes of its message. A write takes the counter row first, which puts all writers
// in one line: its revision is the commit order, what it reads is the newest state, and no
// row locks, unique races or deadlocks are left to reason about. In the same transaction go
// the resource, a history row (which is both the stored revision and the feed), an audit
// row chained by hash, and the answer remembered for the request_id.
package changes

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/aitheater/theater/internal/sqldb"
)

// Log writes and follows.
type Log struct{}

// Call says who writes and why.
type Call struct {
	// Actor is the caller's id.
	Actor string
	// Method is the full RPC name, for example "theater.v1.CatalogService/CreateFilm".
	Method string
	// RequestID is a UUID or empty.
	RequestID string
	// Args is the request; with RequestID it decides whether a retry is the same call.
	Args proto.Message
	// ValidateOnly runs everything and rolls back.
	ValidateOnly bool
}

// Writer is the inside of one write.
type Writer struct {
	// Revision is the revision this write will have.
	Revision int64
	// Now is the database's time.
	Now time.Time
	// Tx is for a room's own tables.
	Tx *sqldb.Tx
}

// Resource is a stored message.
type Resource struct {
	Name     string
	Revision int64
	// Body is the wire form of the message.
	Body []byte
}

// Change is one resource as a write leaves it.
type Change struct {
	Name string
	// Body is the wire form; nil purges the resource.
	Body []byte
	// Withdraw says that the change may hide a film from someone: it overtakes others on
	// its way to the replicas.
	Withdraw bool
	// Note goes into the audit row.
	Note string
}

// Get gives the named resources as of now, those that exist, by name.
func (w *Writer) Get(names ...string) (map[string]Resource, error) { panic("to be written") }

// Put adds changes to this write; at most one per resource.
func (w *Writer) Put(changes ...Change) { panic("to be written") }

// Write runs fn as one write: all of its changes or none, under one revision. A replayed
// request_id gives the first answer again and runs nothing. Without any Put nothing is
// stored and the revision is 0. Write answers once this process shows the revision, or after
// 1 s; it notes the revision for the trailer of ctx's call.
func Write[R proto.Message](ctx context.Context, l *Log, call Call, fn func(w *Writer) (R, error)) (R, int64, error) {
	panic("to be written")
}

// WriteBatch is Write for streams: it does not wait; call Wait once at the end.
func WriteBatch[R proto.Message](ctx context.Context, l *Log, call Call, fn func(w *Writer) (R, error)) (R, int64, error) {
	panic("to be written")
}

// Applier is what a follower keeps up to date.
type Applier interface {
	// Load replaces everything by what next gives until it reports false, as of revision.
	Load(revision int64, next func() (Resource, bool)) error
	// Withdraw closes the gate for the named films until revision is applied.
	Withdraw(revision int64, names []string)
	// Apply makes whole revisions visible at once; a nil Body means the resource is gone.
	// The last change of a name wins. The slice belongs to the applier.
	Apply(revision int64, changes []Resource)
}

// New makes a log over a database. replica is this process's random id.
func New(db *sqldb.DB, replica string) *Log { panic("to be written") }

// Follow loads a into memory and keeps it up to date until ctx ends: a poll every 200 ms or
// as soon as a local write or a wake-up asks for it, withdrawals first.
func (l *Log) Follow(ctx context.Context, a Applier) error { panic("to be written") }

// Wake makes the follower poll at once.
func (l *Log) Wake() { panic("to be written") }

// Applied is the newest revision this process shows.
func (l *Log) Applied() int64 { panic("to be written") }

// Wait returns when this process shows revision, or with an Unavailable fault when ctx or
// limit ends first.
func (l *Log) Wait(ctx context.Context, revision int64, limit time.Duration) error {
	panic("to be written")
}

// Confirm waits up to limit until every replica seen in the last 30 s shows revision.
func (l *Log) Confirm(ctx context.Context, revision int64, limit time.Duration) (confirmed, pending, lost int) {
	panic("to be written")
}

// Receipt collects the newest revision that a call's writes were given.
type Receipt struct{ revision int64 }

// Revision is the newest revision written, 0 for none.
func (r *Receipt) Revision() int64 { return r.revision }

// WithReceipt gives ctx a receipt, which Write fills.
func WithReceipt(ctx context.Context) (context.Context, *Receipt) { panic("to be written") }
