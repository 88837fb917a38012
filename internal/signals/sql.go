package signals

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"time"

	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/ledger"
	"github.com/aitheater/theater/internal/sqldb"
)

// sealedFor is the purpose of the adults' key under the root secret.
const sealedFor = "signals adults"

// adultKey gives the key of all adults. Whoever asks first stores the one derived from its
// root secret, which is what services without this table hash with; from then on the key
// stays whatever becomes of the root secret. It is sealed, and sealed again when another root
// secret seals.
func adultKey(ctx context.Context, db *sqldb.DB, keys *auth.Keys) (key []byte, err error) {
	err = db.Write(ctx, func(tx *sqldb.Tx) error {
		first := keys.Seal(sealedFor, keys.Derive("signals viewer", 32), nil)
		if _, err := tx.Exec(`INSERT INTO signals_keys (name, sealed) VALUES ('adults', $1) ON CONFLICT (name) DO NOTHING`, first); err != nil {
			return err
		}
		var sealed string
		if err := tx.QueryRow(`SELECT sealed FROM signals_keys WHERE name = 'adults'`).Scan(&sealed); err != nil {
			return err
		}
		if key, err = openKey(db, keys, sealed); err != nil || keys.Current(sealed) {
			return err
		}
		_, err := tx.Exec(`UPDATE signals_keys SET sealed = $1 WHERE name = 'adults'`, keys.Seal(sealedFor, key, nil))
		return err
	})
	return key, err
}

// openKey opens a sealed key with the root secrets, or with the database's own: there is then
// a file of root secrets since lately.
func openKey(db *sqldb.DB, keys *auth.Keys, sealed string) ([]byte, error) {
	key, err := keys.Open(sealedFor, sealed, nil)
	if err == nil {
		return key, nil
	}
	own, err := auth.NewKeys(db.RootSecret())
	if err != nil {
		return nil, err
	}
	if key, err = own.Open(sealedFor, sealed, nil); err != nil {
		return nil, errors.New("the key that viewers are hashed with was sealed with another root secret; " +
			"without it every adult would count as a new viewer: add that secret to the secret file, as a further line")
	}
	return key, nil
}

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
