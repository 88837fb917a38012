package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// ErrLeaseLost is what Guard fails with.
var ErrLeaseLost = errors.New("the lease has changed hands")

// Lease takes or renews the named lease for holder, by the database's clock. epoch counts
// up each time the lease changes hands. A ttl of 0 or less gives the lease back.
func (d *DB) Lease(ctx context.Context, name, holder string, ttl time.Duration) (epoch int64, held bool, err error) {
	err = d.Write(ctx, func(tx *Tx) error {
		epoch, held = 0, false
		now, err := tx.Time()
		if err != nil {
			return err
		}
		err = tx.QueryRow(`INSERT INTO sqldb_leases (name, holder, epoch, expires) VALUES ($1, $2, 1, $3)
			ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires = excluded.expires,
				epoch = CASE WHEN sqldb_leases.holder = excluded.holder THEN sqldb_leases.epoch ELSE sqldb_leases.epoch + 1 END
			WHERE sqldb_leases.holder = excluded.holder OR sqldb_leases.expires <= $4
			RETURNING epoch`, name, holder, now.Add(ttl).UnixMicro(), now.UnixMicro()).Scan(&epoch)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		held = err == nil && ttl > 0
		return err
	})
	return epoch, held, err
}

// Guard fails the transaction with ErrLeaseLost unless the lease is still held under this
// epoch, and keeps it from changing hands until the transaction ends.
func (t *Tx) Guard(name string, epoch int64) error {
	n, err := t.Exec("UPDATE sqldb_leases SET epoch = epoch WHERE name = $1 AND epoch = $2", name, epoch)
	if err == nil && n == 0 {
		return ErrLeaseLost
	}
	return err
}
