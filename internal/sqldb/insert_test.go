package sqldb_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/aitheater/theater/internal/sqldb"
	"github.com/aitheater/theater/internal/theatertest"
)

func TestInsertStoresEveryRowOfEveryType(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		db := open(t, url)
		write := func(fn func(tx *sqldb.Tx) error) error { return db.Write(t.Context(), fn) }
		require.NoError(t, write(func(tx *sqldb.Tx) error {
			_, err := tx.Exec(`CREATE TABLE kinds (id BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL, size DOUBLE PRECISION NOT NULL, body BYTEA, n BIGINT NOT NULL)`)
			return err
		}))
		const rows = 4_321 // more than one statement takes
		var values []any
		for i := range rows {
			var body []byte
			if i%3 > 0 {
				body = []byte{0, 1, byte(i)}
			}
			values = append(values, int64(i), fmt.Sprintf("'%d', $1 ? — 烟花", i), float64(i)/4, body, -i)
		}
		const into = "kinds (id, name, size, body, n)"
		require.NoError(t, write(func(tx *sqldb.Tx) error { return tx.Insert(into, 5, values, "") }))
		require.NoError(t, write(func(tx *sqldb.Tx) error { return tx.Insert(into, 5, nil, "") }), "no rows")
		require.Error(t, write(func(tx *sqldb.Tx) error { return tx.Insert(into, 5, values[:5], "") }), "the key is taken")
		require.NoError(t, write(func(tx *sqldb.Tx) error {
			return tx.Insert(into, 5, []any{int64(7), "seven", 7.5, []byte{9}, 7}, "ON CONFLICT (id) DO UPDATE SET name = excluded.name, size = excluded.size, body = excluded.body, n = excluded.n")
		}))
		require.Error(t, write(func(tx *sqldb.Tx) error { return tx.Insert(into, 5, values[:7], "") }), "half a row")
		require.NoError(t, db.Read(t.Context(), func(tx *sqldb.Tx) error {
			found, err := tx.Query(`SELECT id, name, size, body, n FROM kinds ORDER BY id`)
			if err != nil {
				return err
			}
			defer found.Close()
			i := 0
			for ; found.Next(); i++ {
				var id, n int64
				var name string
				var size float64
				var body []byte
				if err := found.Scan(&id, &name, &size, &body, &n); err != nil {
					return err
				}
				want := []any{int64(i), fmt.Sprintf("'%d', $1 ? — 烟花", i), float64(i) / 4, values[5*i+3], int64(-i)}
				if i == 7 {
					want = []any{int64(7), "seven", 7.5, []byte{9}, int64(7)}
				}
				if !assert.Equal(t, want, []any{id, name, size, body, n}) {
					break
				}
			}
			assert.Equal(t, rows, i)
			return found.Err()
		}))
	})
}
