package changes

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"time"

	"github.com/aitheater/theater/internal/sqldb"
)

// Position is a place in history: everything up to and with this row.
type Position struct{ Revision, Index int64 }

// HistoryRow is one resource as one write left it.
type HistoryRow struct {
	Position
	Name string
	// Body is nil where the write purged the resource.
	Body   []byte
	Time   time.Time
	Actor  string
	Method string
}

// Changes gives up to limit rows of resources whose name begins with prefix, after a
// position and within a revision this process shows, in order. Trimmed is the newest
// revision no longer whole in history: a position below it has lost rows.
func (l *Log) Changes(ctx context.Context, after Position, prefix string, limit int) (rows []HistoryRow, trimmed int64, err error) {
	applied := l.Applied()
	err = l.db.Read(ctx, func(tx *sqldb.Tx) error {
		if _, trimmed, err = readHead(tx); err != nil {
			return err
		}
		rows, err = queryHistory(tx, `WHERE (revision > $1 OR (revision = $1 AND idx > $2)) AND revision <= $3 AND name LIKE $4 ORDER BY revision, idx LIMIT $5`,
			after.Revision, after.Index, applied, prefix+"%", limit)
		return err
	})
	return rows, trimmed, err
}

// Revisions gives up to limit revisions of a resource below before (0 = from the newest),
// newest first.
func (l *Log) Revisions(ctx context.Context, name string, before int64, limit int) (rows []HistoryRow, err error) {
	if before == 0 {
		before = math.MaxInt64
	}
	if !storable(name) {
		return nil, nil
	}
	err = l.db.Read(ctx, func(tx *sqldb.Tx) error {
		rows, err = queryHistory(tx, `WHERE name = $1 AND revision < $2 ORDER BY revision DESC LIMIT $3`, name, before, limit)
		return err
	})
	return rows, err
}

// At gives a resource as it was at a revision; ok is false where it did not exist or its
// history is gone.
func (l *Log) At(ctx context.Context, name string, revision int64) (row HistoryRow, ok bool, err error) {
	if !storable(name) {
		return row, false, nil
	}
	err = l.db.Read(ctx, func(tx *sqldb.Tx) error {
		rows, err := queryHistory(tx, `WHERE name = $1 AND revision <= $2 ORDER BY revision DESC LIMIT 1`, name, revision)
		if ok = len(rows) > 0; ok {
			row = rows[0]
		}
		return err
	})
	return row, ok && row.Body != nil, err
}

// AsOf calls fn with every resource as it was at a time, in no order, and gives the
// revision of then. Before history begins nothing is found.
func (l *Log) AsOf(ctx context.Context, at time.Time, fn func(Resource) error) (revision int64, err error) {
	err = l.db.Read(ctx, func(tx *sqldb.Tx) error {
		if revision, err = revisionAt(tx, at); err != nil {
			return err
		}
		rows, err := tx.Query(`SELECT h.name, h.revision, h.body FROM changes_history h
			JOIN (SELECT name, MAX(revision) AS revision FROM changes_history WHERE revision <= $1 GROUP BY name) last
			ON last.name = h.name AND last.revision = h.revision`, revision)
		if err != nil {
			return err
		}
		return each(rows, func() error {
			var r Resource
			if err := rows.Scan(&r.Name, &r.Revision, &r.Body); err != nil {
				return err
			}
			if r.Body == nil {
				return nil
			}
			return fn(r)
		})
	})
	return revision, err
}

// revisionAt gives the newest revision written at or before a time, 0 for none. Times rise
// with revisions, so it halves its way through the primary key.
func revisionAt(tx *sqldb.Tx, at time.Time) (int64, error) {
	low := int64(0) // written at or before, or 0
	high, _, err := readHead(tx)
	for err == nil && low < high {
		middle := low + (high-low+1)/2
		var found, written int64
		err = tx.QueryRow(`SELECT revision, time FROM changes_history WHERE revision >= $1 AND revision <= $2 ORDER BY revision, idx LIMIT 1`, middle, high).
			Scan(&found, &written)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			high, err = middle-1, nil
		case err == nil && written <= at.UnixMicro():
			low = found
		case err == nil:
			high = middle - 1
		}
	}
	return low, err
}
