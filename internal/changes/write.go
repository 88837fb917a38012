package changes

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/sqldb"
)

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

// Resource is a stored message.
type Resource struct {
	Name     string
	Revision int64
	// Body is the wire form of the message; nil where the resource is gone.
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
	// Expire is when the resource is purged unless a later change of it says otherwise; the
	// zero time is never.
	Expire time.Time
}

// Writer is the inside of one write.
type Writer struct {
	// Revision is the revision this write will have.
	Revision int64
	// Now is the database's time since the write has its turn: never before that of the
	// revision before.
	Now time.Time
	// Tx is for a room's own tables.
	Tx *sqldb.Tx

	before  map[string]Resource // what Get found; a zero Name = absent
	changes []Change
	at      map[string]int // index into changes by name
}

// Get gives the named resources as of now, those that exist, by name. It does not see what
// Put added.
func (w *Writer) Get(names ...string) (map[string]Resource, error) {
	var unread []string
	for _, name := range names {
		if _, ok := w.before[name]; !ok && storable(name) {
			w.before[name] = Resource{}
			unread = append(unread, name)
		}
	}
	if err := readResources(w.Tx, unread, w.before); err != nil {
		return nil, err
	}
	found := make(map[string]Resource, len(names))
	for _, name := range names {
		if r := w.before[name]; r.Name != "" {
			found[name] = r
		}
	}
	return found, nil
}

// Put adds changes to this write, 1,999 at the most; of several for one resource the last
// counts.
func (w *Writer) Put(changes ...Change) {
	for _, c := range changes {
		at, ok := w.at[c.Name]
		if !ok {
			w.at[c.Name] = len(w.changes)
			w.changes = append(w.changes, c)
			continue
		}
		c.Withdraw = c.Withdraw || w.changes[at].Withdraw
		w.changes[at] = c
	}
}

// Write runs fn as one write: all of its changes or none, under one revision. A replayed
// request_id gives the first answer again and runs nothing. Without any Put nothing is
// stored and the revision is 0. Write answers once this process shows the revision, or after
// 1 s; it notes the revision for the trailer of ctx's call.
func Write[R proto.Message](ctx context.Context, l *Log, call Call, fn func(w *Writer) (R, error)) (R, int64, error) {
	answer, revision, err := WriteBatch(ctx, l, call, fn)
	if err == nil && revision > 0 && l.state.Load().loaded {
		// If the wait fails it is stored all the same; the caller's next read here may lag.
		_ = l.Wait(ctx, revision, time.Second)
	}
	return answer, revision, err
}

// maxChanges is the most changes of one write: a follower reads whole revisions.
const maxChanges = 1999

// errKeepNothing rolls a transaction back without failing the call.
var errKeepNothing = errors.New("nothing to keep")

// WriteBatch is Write for streams: it does not wait; call Wait once at the end.
func WriteBatch[R proto.Message](ctx context.Context, l *Log, call Call, fn func(w *Writer) (R, error)) (R, int64, error) {
	var answer R
	var revision int64
	arguments, err := digest(call.Args)
	if err != nil {
		return answer, 0, err
	}
	err = l.db.Write(ctx, func(tx *sqldb.Tx) error {
		head, err := takeHead(tx)
		if err != nil {
			return err
		}
		now, err := tx.Time()
		if err != nil {
			return err
		}
		if call.RequestID != "" {
			r, ok, err := recall(tx, call, now)
			if err != nil {
				return err
			}
			if ok {
				if !bytes.Equal(r.arguments, arguments) {
					return fault.New(fault.InvalidArgument, pb.ErrorReason_REQUEST_ID_REUSED, "request_id: was used with other arguments; use a new one")
				}
				again := answer.ProtoReflect().New().Interface().(R)
				if err := proto.Unmarshal(r.answer, again); err != nil {
					return fmt.Errorf("answer remembered for a request_id: %w", err)
				}
				answer, revision = again, r.revision
				return errKeepNothing
			}
		}
		w := &Writer{Revision: head.revision, Now: now, Tx: tx, before: map[string]Resource{}, at: map[string]int{}}
		if answer, err = fn(w); err != nil {
			return err
		}
		revision = 0
		if call.ValidateOnly {
			return errKeepNothing
		}
		if len(w.changes) > 0 {
			revision = head.revision
			if err := w.store(call, head); err != nil {
				return err
			}
		} else if err := restoreHead(tx, head.revision-1); err != nil {
			return err
		}
		if call.RequestID == "" {
			if revision == 0 {
				return errKeepNothing
			}
			return nil
		}
		body, err := proto.MarshalOptions{Deterministic: true}.Marshal(answer)
		if err != nil {
			return err
		}
		return remember(tx, call, now, arguments, revision, body)
	})
	if err != nil && !errors.Is(err, errKeepNothing) {
		var none R
		return none, 0, err
	}
	if revision > 0 {
		note(ctx, revision)
		l.Wake()
	}
	return answer, revision, nil
}

// digest is the SHA-256 of a request's deterministic wire form.
func digest(m proto.Message) ([]byte, error) {
	if m == nil {
		return []byte{}, nil
	}
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(body)
	return sum[:], nil
}

// store writes the changes in order of their names.
func (w *Writer) store(call Call, head head) error {
	if len(w.changes) > maxChanges {
		return fmt.Errorf("a write of %d changes; %d is the most", len(w.changes), maxChanges)
	}
	slices.SortFunc(w.changes, func(a, b Change) int { return strings.Compare(a.Name, b.Name) })
	names := make([]string, len(w.changes))
	for i, c := range w.changes {
		names[i] = c.Name
	}
	if _, err := w.Get(names...); err != nil {
		return err
	}
	if err := writeResources(w.Tx, w.Revision, w.changes); err != nil {
		return err
	}
	if err := writeHistory(w.Tx, w.Revision, w.Now, call, w.changes); err != nil {
		return err
	}
	entries := make([]*pb.AuditEntry, len(w.changes))
	for i, c := range w.changes {
		entries[i] = &pb.AuditEntry{Actor: call.Actor, Method: call.Method, Resource: c.Name, Revision: w.Revision, RequestId: call.RequestID,
			HashBefore: bodyHash(w.before[c.Name].Body), HashAfter: bodyHash(c.Body), Note: c.Note}
	}
	return appendAudit(w.Tx, head, w.Now, entries)
}
