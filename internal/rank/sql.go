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
	// First and Last are the segments of the state. BaseBytes is how long those were when the
	// state was last written whole, and Bytes what was added since.
	First, Last      int64
	BaseBytes, Bytes int64
	// Purged is the time since when a purged viewer's old hash may stand in them; 0 = never.
	Purged int64
	// Days are the days whose keys are stored.
	Days map[int32]savedDay
}

// savedDay is a day whose keys are in segments: all that were counted at or below the
// watermark.
type savedDay struct {
	First int64
	// Purged is as a checkpoint's.
	Purged int64
}

// segment is a piece of the state, or of a day's keys. Both take their numbers from one count.
type segment struct {
	number int64
	keys   bool
	day    int32 // of keys
	body   []byte
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
		return nil, nil //nolint:nilerr // of another version: the ledger is folded again
	}
	rows, err := tx.Query(`SELECT body FROM rank_segments WHERE number >= $1 AND number <= $2 ORDER BY number`, c.First, c.Last)
	if err != nil {
		return nil, err
	}
	if err := eachBody(rows, func(body []byte) error { return each(c, body) }); err != nil {
		return nil, err
	}
	return c, nil
}

func writeSegment(tx *sqldb.Tx, s segment) (err error) {
	if s.keys {
		_, err = tx.Exec(`INSERT INTO rank_keys (number, day, body) VALUES ($1, $2, $3)`, s.number, int64(s.day), s.body)
	} else {
		_, err = tx.Exec(`INSERT INTO rank_segments (number, body) VALUES ($1, $2)`, s.number, s.body)
	}
	return err
}

// deleteSegmentsAbove removes what a checkpoint left behind that did not come to its end.
func deleteSegmentsAbove(tx *sqldb.Tx, number int64) error {
	if _, err := tx.Exec(`DELETE FROM rank_segments WHERE number > $1`, number); err != nil {
		return err
	}
	_, err := tx.Exec(`DELETE FROM rank_keys WHERE number > $1`, number)
	return err
}

// writeCheckpoint makes c the state instead of old, and drops the segments that are no longer
// part of it.
func writeCheckpoint(tx *sqldb.Tx, old, c *checkpoint) error {
	body, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(`INSERT INTO rank_state (one, body) VALUES (1, $1) ON CONFLICT (one) DO UPDATE SET body = excluded.body`, body); err != nil {
		return err
	}
	if _, err := tx.Exec(`DELETE FROM rank_segments WHERE number < $1`, c.First); err != nil {
		return err
	}
	if old.Days == nil { // what is there is of a state that was given up
		_, err := tx.Exec(`DELETE FROM rank_keys WHERE number <= $1`, old.Last)
		return err
	}
	for day, was := range old.Days {
		now, still := c.Days[day]
		if !still {
			now.First = c.Last + 1
		}
		if now.First == was.First {
			continue
		}
		if _, err := tx.Exec(`DELETE FROM rank_keys WHERE day = $1 AND number < $2`, int64(day), now.First); err != nil {
			return err
		}
	}
	return nil
}

// readKeys hands over a day's segments, the newest first.
func readKeys(tx *sqldb.Tx, day int32, first, last int64, each func(body []byte) error) error {
	rows, err := tx.Query(`SELECT body FROM rank_keys WHERE day = $1 AND number >= $2 AND number <= $3 ORDER BY number DESC`, int64(day), first, last)
	if err != nil {
		return err
	}
	return eachBody(rows, each)
}

func eachBody(rows *sql.Rows, each func(body []byte) error) error {
	defer rows.Close()
	var body sql.RawBytes
	for rows.Next() {
		if err := rows.Scan(&body); err != nil {
			return err
		}
		if err := each(body); err != nil {
			return err
		}
	}
	return rows.Err()
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
