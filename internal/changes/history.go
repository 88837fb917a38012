package changes

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
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
		if _, trimmed, _, err = readHead(tx); err != nil {
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
	err = l.db.Read(ctx, func(tx *sqldb.Tx) error {
		rows, err = queryHistory(tx, `WHERE name = $1 AND revision < $2 ORDER BY revision DESC LIMIT $3`, name, before, limit)
		return err
	})
	return rows, err
}

// At gives a resource as it was at a revision; ok is false where it did not exist or its
// history is gone.
func (l *Log) At(ctx context.Context, name string, revision int64) (row HistoryRow, ok bool, err error) {
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
		var newest sql.NullInt64
		if err := tx.QueryRow(`SELECT MAX(revision) FROM changes_history WHERE time <= $1`, at.UnixMicro()).Scan(&newest); err != nil {
			return err
		}
		revision = newest.Int64
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

// historyOf is how long history is kept.
const historyOf = 400 * 24 * time.Hour

// Trim forgets what is older than it need be kept: history after 400 days (but for the
// current state of each resource), request ids after a day, replicas after a day. Any
// process may do it at any time.
func (l *Log) Trim(ctx context.Context) error {
	return l.db.Write(ctx, func(tx *sqldb.Tx) error {
		day := tx.Now().Add(-memoryOf).UnixMicro()
		if _, err := tx.Exec(`DELETE FROM changes_requests WHERE time < $1`, day); err != nil {
			return err
		}
		if _, err := tx.Exec(`DELETE FROM changes_replicas WHERE seen < $1`, day); err != nil {
			return err
		}
		// The newest revision older than 400 days, but at most 1,000 at once: this is a write
		// like any other and must not hold up a take-down.
		var upto int64
		err := tx.QueryRow(`SELECT revision FROM (SELECT DISTINCT revision FROM changes_history WHERE time < $1
			AND revision > (SELECT trimmed FROM changes_head WHERE one = 1) ORDER BY revision LIMIT 1000) old ORDER BY revision DESC LIMIT 1`,
			tx.Now().Add(-historyOf).UnixMicro()).Scan(&upto)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("history to trim: %w", err)
		}
		if _, err := tx.Exec(`DELETE FROM changes_history WHERE revision <= $1 AND NOT EXISTS
			(SELECT 1 FROM changes_resources r WHERE r.name = changes_history.name AND r.revision = changes_history.revision)`, upto); err != nil {
			return err
		}
		_, err = tx.Exec(`UPDATE changes_head SET trimmed = $1 WHERE one = 1`, upto)
		return err
	})
}
