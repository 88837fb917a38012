package generations

import (
	"context"
	"database/sql"
	"errors"

	"github.com/aitheater/theater/internal/sqldb"
)

// readLast gives the last number given out.
func readLast(tx *sqldb.Tx) (last int64, err error) {
	err = tx.QueryRow(`SELECT number FROM generations_head WHERE one = 1`).Scan(&last)
	return last, err
}

// readNumbers gives the latest number of every list and shard.
func readNumbers(tx *sqldb.Tx) (map[id]int64, error) {
	rows, err := tx.Query(`SELECT chart, market, number FROM generations_lists`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	numbers := map[id]int64{}
	for rows.Next() {
		var key id
		var number int64
		if err := rows.Scan(&key.chart, &key.market, &number); err != nil {
			return nil, err
		}
		numbers[key] = number
	}
	return numbers, rows.Err()
}

// takeNumbers gives out n numbers above floor and returns the last.
func takeNumbers(tx *sqldb.Tx, n int, floor int64) (last int64, err error) {
	err = tx.QueryRow(`UPDATE generations_head SET number = CASE WHEN number < $2 THEN $2 ELSE number END + $1 WHERE one = 1 RETURNING number`, n, floor).Scan(&last)
	return last, err
}

func writeItem(tx *sqldb.Tx, key id, number int64, blob []byte) error {
	_, err := tx.Exec(`INSERT INTO generations_lists (chart, market, number, body) VALUES ($1, $2, $3, $4)
		ON CONFLICT (chart, market) DO UPDATE SET number = excluded.number, body = excluded.body`, key.chart, key.market, number, blob)
	return err
}

func deleteItem(tx *sqldb.Tx, key id) error {
	_, err := tx.Exec(`DELETE FROM generations_lists WHERE chart = $1 AND market = $2`, key.chart, key.market)
	return err
}

// readItem gives the stored item of a key, nil when there is none or when this version cannot
// read it: the next publication then replaces it.
func (s *Store) readItem(tx *sqldb.Tx, key id) (*item, error) {
	var blob []byte
	err := tx.QueryRow(`SELECT body FROM generations_lists WHERE chart = $1 AND market = $2`, key.chart, key.market).Scan(&blob)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	it, err := s.decode(nil, key, 0, blob)
	if err != nil {
		s.metrics.bad.Add(context.Background(), 1, fromSQL)
		return nil, nil //nolint:nilerr // what cannot be proven is not there
	}
	// The stored bytes may have been sealed under another secret.
	s.blob(it)
	return it, nil
}
