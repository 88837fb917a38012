package rank

import (
	"database/sql"
	"encoding/json"
	"errors"

	"github.com/aitheater/theater/internal/sqldb"
)

// format is of what a checkpoint says; another version's is not read, and the ledger is
// folded from its beginning.
const format = 1

// checkpoint is the row that makes segments a state.
type checkpoint struct {
	Format    int
	Needs     needsBody
	Watermark int64
	At        int64
	// First and Last are the segments of the state; others are leftovers. Base is the last
	// one that was written whole, and BaseBytes and Bytes are how long the segments are up to
	// there and after it.
	First, Last      int64
	BaseBytes, Bytes int64
}

// needsBody is needs as JSON has it.
type needsBody struct {
	Sums       []sumBody
	Thresholds []float64
	Window     int64
}

type sumBody struct {
	HalfLife int64
	Weights  [nKinds]float64
}

func (n *needs) body() needsBody {
	b := needsBody{Thresholds: n.thresholds, Window: n.window}
	for _, s := range n.sums {
		b.Sums = append(b.Sums, sumBody{s.halfLife, s.weights})
	}
	return b
}

func (b *needsBody) needs() needs {
	n := needs{thresholds: b.Thresholds, window: b.Window}
	for _, s := range b.Sums {
		n.sums = append(n.sums, sumSpec{s.HalfLife, s.Weights})
	}
	return n
}

// readCheckpoint gives the stored checkpoint and hands over its segments in order; nil when
// there is none that this version can read.
func readCheckpoint(tx *sqldb.Tx, each func(c *checkpoint, body []byte) error) (*checkpoint, error) {
	var body []byte
	err := tx.QueryRow(`SELECT body FROM rank_state WHERE one = 1`).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	c := &checkpoint{}
	if json.Unmarshal(body, c) != nil || c.Format != format {
		return nil, nil
	}
	rows, err := tx.Query(`SELECT body FROM rank_segments WHERE number >= $1 AND number <= $2 ORDER BY number`, c.First, c.Last)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&body); err != nil {
			return nil, err
		}
		if err := each(c, body); err != nil {
			return nil, err
		}
	}
	return c, rows.Err()
}

func writeSegment(tx *sqldb.Tx, number int64, body []byte) error {
	_, err := tx.Exec(`INSERT INTO rank_segments (number, body) VALUES ($1, $2) ON CONFLICT (number) DO UPDATE SET body = excluded.body`, number, body)
	return err
}

// writeCheckpoint makes the segments First to Last the state, and drops the others.
func writeCheckpoint(tx *sqldb.Tx, c *checkpoint) error {
	body, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(`INSERT INTO rank_state (one, body) VALUES (1, $1) ON CONFLICT (one) DO UPDATE SET body = excluded.body`, body); err != nil {
		return err
	}
	_, err = tx.Exec(`DELETE FROM rank_segments WHERE number < $1 OR number > $2`, c.First, c.Last)
	return err
}

// writeRuns notes how far the ledger was folded for the lists of a time, and forgets the runs
// before oldest.
func writeRuns(tx *sqldb.Tx, runs map[int64]int64, oldest int64) error {
	if _, err := tx.Exec(`DELETE FROM rank_runs WHERE compute_time < $1`, oldest); err != nil {
		return err
	}
	for at, watermark := range runs {
		if _, err := tx.Exec(`INSERT INTO rank_runs (compute_time, watermark) VALUES ($1, $2) ON CONFLICT (compute_time) DO UPDATE SET watermark = excluded.watermark`, at, watermark); err != nil {
			return err
		}
	}
	return nil
}

func readRun(tx *sqldb.Tx, at int64) (watermark int64, found bool, err error) {
	err = tx.QueryRow(`SELECT watermark FROM rank_runs WHERE compute_time = $1`, at).Scan(&watermark)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	return watermark, err == nil, err
}
