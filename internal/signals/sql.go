package signals

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"time"

	"github.com/aitheater/theater/internal/ledger"
	"github.com/aitheater/theater/internal/sqldb"
)

// dayKey gives the key of a day's children, making it if it is the first to ask.
func dayKey(ctx context.Context, db *sqldb.DB, day int32) (key []byte, err error) {
	fresh := make([]byte, 32)
	if _, err := rand.Read(fresh); err != nil {
		return nil, err
	}
	err = db.Write(ctx, func(tx *sqldb.Tx) error {
		if _, err := tx.Exec(`INSERT INTO signals_day_keys (day, hash_key) VALUES ($1, $2) ON CONFLICT (day) DO NOTHING`, int64(day), fresh); err != nil {
			return err
		}
		return tx.QueryRow(`SELECT hash_key FROM signals_day_keys WHERE day = $1`, int64(day)).Scan(&key)
	})
	return key, err
}

// dayKeys gives all keys there are, by day.
func dayKeys(ctx context.Context, db *sqldb.DB) (keys map[int32][]byte, err error) {
	err = db.Read(ctx, func(tx *sqldb.Tx) error {
		rows, err := tx.Query(`SELECT day, hash_key FROM signals_day_keys`)
		if err != nil {
			return err
		}
		defer rows.Close()
		keys = map[int32][]byte{}
		for rows.Next() {
			var day int64
			var key []byte
			if err := rows.Scan(&day, &key); err != nil {
				return err
			}
			keys[int32(day)] = key
		}
		return rows.Err()
	})
	return keys, err
}

// deleteDayKeys deletes the keys of days that began keyLife ago.
func deleteDayKeys(ctx context.Context, db *sqldb.DB, now time.Time) error {
	dead := ledger.DayOf(now.Add(-keyLife).UnixMicro())
	return db.Write(ctx, func(tx *sqldb.Tx) error {
		_, err := tx.Exec(`DELETE FROM signals_day_keys WHERE day <= $1`, int64(dead))
		return err
	})
}

// purgeAnswer gives the remembered answer of a PurgeViewer call.
func purgeAnswer(ctx context.Context, db *sqldb.DB, caller, requestID string) (arguments []byte, events int64, found bool, err error) {
	err = db.Read(ctx, func(tx *sqldb.Tx) error {
		err := tx.QueryRow(`SELECT arguments, event_count FROM signals_purges WHERE caller = $1 AND request_id = $2`, caller, requestID).Scan(&arguments, &events)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		found = err == nil
		return err
	})
	return arguments, events, found, err
}

func rememberPurge(tx *sqldb.Tx, caller, requestID string, arguments []byte, events int64) error {
	_, err := tx.Exec(`INSERT INTO signals_purges (caller, request_id, arguments, event_count, create_time) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (caller, request_id) DO NOTHING`, caller, requestID, arguments, events, tx.Now().UnixMicro())
	return err
}

// deletePurges forgets answers older than a day.
func deletePurges(ctx context.Context, db *sqldb.DB) error {
	return db.Write(ctx, func(tx *sqldb.Tx) error {
		_, err := tx.Exec(`DELETE FROM signals_purges WHERE create_time < $1`, tx.Now().Add(-24*time.Hour).UnixMicro())
		return err
	})
}
