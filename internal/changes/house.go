package changes

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/aitheater/theater/internal/sqldb"
)

const (
	// historyOf is how long history is kept.
	historyOf = 400 * 24 * time.Hour
	// trimAtOnce is how many revisions one transaction of Trim passes over; an import's have
	// 500 rows each, and a take-down may be waiting for its turn.
	trimAtOnce = 20
	// purgeAtOnce is how many expired resources one write purges.
	purgeAtOnce = 500
	// houseEvery is how often a process looks for what has expired.
	houseEvery = time.Hour
)

// keepHouse purges and trims at the start and then every hour, until ctx ends. All replicas
// do it; what one has done the next one finds done.
func (l *Log) keepHouse(ctx context.Context) error {
	timer := time.NewTimer(time.Minute)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		if err := errors.Join(l.Purge(ctx), l.Trim(ctx)); err != nil && ctx.Err() == nil {
			slog.WarnContext(ctx, "expired rows were not removed; trying again in an hour", "error", err)
		}
		timer.Reset(houseEvery)
	}
}

// Purge removes the resources whose Expire has passed, as writes with an audit row each.
func (l *Log) Purge(ctx context.Context) error {
	for {
		purged := 0
		call := Call{Actor: "theater", Method: "purge"}
		_, _, err := WriteBatch(ctx, l, call, func(w *Writer) (*emptypb.Empty, error) {
			purged = 0
			rows, err := w.Tx.Query(`SELECT name FROM changes_resources WHERE expires > 0 AND expires <= $1 ORDER BY expires LIMIT $2`, w.Now.UnixMicro(), purgeAtOnce)
			if err != nil {
				return nil, err
			}
			return &emptypb.Empty{}, each(rows, func() error {
				purged++
				c := Change{Withdraw: true, Note: "expired"}
				err := rows.Scan(&c.Name)
				w.Put(c)
				return err
			})
		})
		if err != nil || purged < purgeAtOnce {
			return err
		}
	}
}

// Trim forgets what is older than it need be kept: request ids and replicas after a day,
// history after 400 days. A row of history goes when the row after it is that old too, so
// that the state of any moment of the last 400 days can be told; the current state of a
// resource never goes.
func (l *Log) Trim(ctx context.Context) error {
	var upto int64
	err := l.db.Write(ctx, func(tx *sqldb.Tx) error {
		day := tx.Now().Add(-memoryOf).UnixMicro()
		if _, err := tx.Exec(`DELETE FROM changes_requests WHERE time < $1`, day); err != nil {
			return err
		}
		_, err := tx.Exec(`DELETE FROM changes_replicas WHERE seen < $1`, day)
		return err
	})
	if err != nil {
		return err
	}
	err = l.db.Read(ctx, func(tx *sqldb.Tx) (err error) {
		upto, err = revisionAt(tx, tx.Now().Add(-historyOf))
		return err
	})
	for more := true; err == nil && more; {
		err = l.db.Write(ctx, func(tx *sqldb.Tx) (err error) {
			more, err = trimSome(tx, upto)
			return err
		})
	}
	return err
}

// trimSome moves the trimmed mark some revisions towards upto.
func trimSome(tx *sqldb.Tx, upto int64) (more bool, err error) {
	_, from, err := readHead(tx)
	if err != nil || from >= upto {
		return false, err
	}
	to := min(upto, from+trimAtOnce)
	if _, err := tx.Exec(`UPDATE changes_head SET trimmed = $1 WHERE one = 1 AND trimmed < $1`, to); err != nil {
		return false, err
	}
	if _, err := tx.Exec(`DELETE FROM changes_history WHERE revision < $2
		AND name IN (SELECT name FROM changes_history WHERE revision > $1 AND revision <= $2)
		AND EXISTS (SELECT 1 FROM changes_history n WHERE n.name = changes_history.name AND n.revision > changes_history.revision AND n.revision <= $2)`, from, to); err != nil {
		return false, err
	}
	_, err = tx.Exec(`DELETE FROM changes_history WHERE revision > $1 AND revision <= $2 AND body IS NULL`, from, to)
	return to < upto, err
}
