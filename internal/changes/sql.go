package changes

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/sqldb"
)

// head is the counter row as a writer holds it.
type head struct {
	revision, auditSequence int64
	auditHash               string
}

// takeHead bumps the counter and so waits for every writer before this one.
func takeHead(tx *sqldb.Tx) (h head, err error) {
	err = tx.QueryRow(`UPDATE changes_head SET revision = revision + 1 WHERE one = 1 RETURNING revision, audit_sequence, audit_hash`).
		Scan(&h.revision, &h.auditSequence, &h.auditHash)
	return h, err
}

func restoreHead(tx *sqldb.Tx, revision int64) error {
	_, err := tx.Exec(`UPDATE changes_head SET revision = $1 WHERE one = 1`, revision)
	return err
}

func moveAudit(tx *sqldb.Tx, sequence int64, hash string) error {
	_, err := tx.Exec(`UPDATE changes_head SET audit_sequence = $1, audit_hash = $2 WHERE one = 1`, sequence, hash)
	return err
}

// readHead gives the newest revision and the newest one trimmed.
func readHead(tx *sqldb.Tx) (revision, trimmed int64, err error) {
	err = tx.QueryRow(`SELECT revision, trimmed FROM changes_head WHERE one = 1`).Scan(&revision, &trimmed)
	return revision, trimmed, err
}

// storable reports whether a database can hold s as text, and so whether looking for it can
// find anything.
func storable(s string) bool { return utf8.ValidString(s) && !strings.Contains(s, "\x00") }

// clean makes any text storable.
func clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// placeholders is "$from,$from+1,…", n of them.
func placeholders(from, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "$%d", from+i)
	}
	return b.String()
}

// selectResources reads the current body of resources where it stands: in their history.
const selectResources = `SELECT r.name, r.revision, h.body FROM changes_resources r
	JOIN changes_history h ON h.name = r.name AND h.revision = r.revision`

// inChunks is how many values one IN list holds.
const inChunks = 500

// readResources adds the resources that exist to found.
func readResources(tx *sqldb.Tx, names []string, found map[string]Resource) error {
	for len(names) > 0 {
		n := min(inChunks, len(names))
		args := make([]any, n)
		for i, name := range names[:n] {
			args[i] = name
		}
		names = names[n:]
		rows, err := tx.Query(selectResources+` WHERE r.name IN (`+placeholders(1, n)+`)`, args...)
		if err != nil {
			return err
		}
		err = each(rows, func() error {
			var r Resource
			if err := rows.Scan(&r.Name, &r.Revision, &r.Body); err != nil {
				return err
			}
			found[r.Name] = r
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// each calls scan for every row and closes rows.
func each(rows *sql.Rows, scan func() error) (err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := scan(); err != nil {
			return err
		}
	}
	return rows.Err()
}

func writeResources(tx *sqldb.Tx, revision int64, changes []Change) error {
	var values []any
	for _, c := range changes {
		if c.Body != nil {
			var expires int64
			if !c.Expire.IsZero() {
				expires = c.Expire.UnixMicro()
			}
			values = append(values, c.Name, revision, expires)
			continue
		}
		if _, err := tx.Exec(`DELETE FROM changes_resources WHERE name = $1`, c.Name); err != nil {
			return err
		}
	}
	return tx.Insert("changes_resources (name, revision, expires)", 3, values,
		"ON CONFLICT (name) DO UPDATE SET revision = excluded.revision, expires = excluded.expires")
}

func writeHistory(tx *sqldb.Tx, revision int64, now time.Time, call Call, changes []Change) error {
	values := make([]any, 0, 8*len(changes))
	for i, c := range changes {
		withdraw := 0
		if c.Withdraw {
			withdraw = 1
		}
		values = append(values, revision, i, c.Name, c.Body, withdraw, now.UnixMicro(), call.Actor, call.Method)
	}
	return tx.Insert("changes_history (revision, idx, name, body, withdraw, time, actor, method)", 8, values, "")
}

func writeAudit(tx *sqldb.Tx, entries []*pb.AuditEntry) error {
	values := make([]any, 0, 11*len(entries))
	for _, e := range entries {
		values = append(values, e.GetSequence(), e.GetTime().AsTime().UnixMicro(), e.GetActor(), e.GetMethod(), e.GetResource(), e.GetRevision(),
			e.GetRequestId(), e.GetHashBefore(), e.GetHashAfter(), e.GetNote(), e.GetChainHash())
	}
	return tx.Insert("changes_audit (sequence, time, actor, method, resource, revision, request_id, hash_before, hash_after, note, chain_hash)", 11, values, "")
}

// readAudit calls fn for every entry above after, oldest first.
func readAudit(tx *sqldb.Tx, after int64, fn func(*pb.AuditEntry) error) error {
	for {
		entries, err := queryAudit(tx, `WHERE sequence > $1 ORDER BY sequence LIMIT 1000`, after)
		if err != nil || len(entries) == 0 {
			return err
		}
		for _, e := range entries {
			if err := fn(e); err != nil {
				return err
			}
			after = e.GetSequence()
		}
	}
}

func queryAudit(tx *sqldb.Tx, where string, args ...any) (entries []*pb.AuditEntry, err error) {
	rows, err := tx.Query(`SELECT sequence, time, actor, method, resource, revision, request_id, hash_before, hash_after, note, chain_hash FROM changes_audit `+where, args...)
	if err != nil {
		return nil, err
	}
	err = each(rows, func() error {
		e, at := new(pb.AuditEntry), int64(0)
		if err := rows.Scan(&e.Sequence, &at, &e.Actor, &e.Method, &e.Resource, &e.Revision, &e.RequestId, &e.HashBefore, &e.HashAfter, &e.Note, &e.ChainHash); err != nil {
			return err
		}
		e.Time = timestamppb.New(time.UnixMicro(at).UTC())
		entries = append(entries, e)
		return nil
	})
	return entries, err
}

// memory is an answer remembered for a request_id.
type memory struct {
	arguments, answer []byte
	revision          int64
}

// memoryOf is how long request ids are remembered.
const memoryOf = 24 * time.Hour

func recall(tx *sqldb.Tx, call Call, now time.Time) (m memory, ok bool, err error) {
	err = tx.QueryRow(`SELECT arguments, answer, revision FROM changes_requests WHERE actor = $1 AND method = $2 AND request_id = $3 AND time > $4`,
		call.Actor, call.Method, call.RequestID, now.Add(-memoryOf).UnixMicro()).Scan(&m.arguments, &m.answer, &m.revision)
	if errors.Is(err, sql.ErrNoRows) {
		return m, false, nil
	}
	return m, err == nil, err
}

func remember(tx *sqldb.Tx, call Call, now time.Time, arguments []byte, revision int64, answer []byte) error {
	if answer == nil {
		answer = []byte{}
	}
	_, err := tx.Exec(`INSERT INTO changes_requests (actor, method, request_id, arguments, revision, answer, time) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (actor, method, request_id) DO UPDATE SET arguments = excluded.arguments, revision = excluded.revision, answer = excluded.answer, time = excluded.time`,
		call.Actor, call.Method, call.RequestID, arguments, revision, answer, now.UnixMicro())
	return err
}

// readWithdrawals gives withdraw rows above after, in order.
func readWithdrawals(tx *sqldb.Tx, after int64) (found []Resource, err error) {
	rows, err := tx.Query(`SELECT revision, name FROM changes_history WHERE withdraw = 1 AND revision > $1 ORDER BY revision, idx`, after)
	if err != nil {
		return nil, err
	}
	err = each(rows, func() error {
		var r Resource
		if err := rows.Scan(&r.Revision, &r.Name); err != nil {
			return err
		}
		found = append(found, r)
		return nil
	})
	return found, err
}

func queryHistory(tx *sqldb.Tx, where string, args ...any) (found []HistoryRow, err error) {
	rows, err := tx.Query(`SELECT revision, idx, name, body, time, actor, method FROM changes_history `+where, args...)
	if err != nil {
		return nil, err
	}
	err = each(rows, func() error {
		var h HistoryRow
		var at int64
		if err := rows.Scan(&h.Revision, &h.Index, &h.Name, &h.Body, &at, &h.Actor, &h.Method); err != nil {
			return err
		}
		h.Time = time.UnixMicro(at).UTC()
		found = append(found, h)
		return nil
	})
	return found, err
}
