package ledger

import (
	"database/sql"
	"strings"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/sqldb"
)

const (
	columns  = "seq, day, market, film, viewer, kind, value, occur, audience, receipt"
	nColumns = 10
)

// take gives out n sequence numbers and returns the last. It must come first in its
// transaction: the row's lock is what makes commit order sequence order.
func take(tx *sqldb.Tx, n int) (last int64, err error) {
	err = tx.QueryRow(`UPDATE ledger_head SET seq = seq + $1 WHERE one = 1 RETURNING seq`, n).Scan(&last)
	return last, err
}

func readHead(tx *sqldb.Tx) (head int64, err error) {
	err = tx.QueryRow(`SELECT seq FROM ledger_head WHERE one = 1`).Scan(&head)
	return head, err
}

func appendRows(tx *sqldb.Tx, events []Event, traces []string) error {
	last, err := take(tx, len(events))
	if err != nil {
		return err
	}
	receipt := tx.Now().UnixMicro()
	values := make([]any, 0, len(events)*nColumns)
	for i := range events {
		e := &events[i]
		e.Seq, e.Receipt = last-int64(len(events)-1-i), receipt
		values = append(values, e.Seq, int64(e.Day), e.Market, e.Film, e.Viewer[:], int64(e.Kind), e.Value, e.Occur, int64(e.Audience), e.Receipt)
	}
	if err := tx.Insert("ledger_events ("+columns+")", nColumns, values, ""); err != nil {
		return err
	}
	if len(traces) == 0 {
		return nil
	}
	_, err = tx.Exec(`INSERT INTO ledger_traces (seq, traces) VALUES ($1, $2)`, last, strings.Join(traces, "\n"))
	return err
}

func readBatch(tx *sqldb.Tx, seq int64, limit int) (*Batch, error) {
	b := &Batch{Through: seq}
	var err error
	if b.Head, err = readHead(tx); err != nil {
		return nil, err
	}
	if b.Head <= seq {
		return b, nil
	}
	rows, err := tx.Query(`SELECT `+columns+` FROM ledger_events WHERE seq > $1 ORDER BY seq LIMIT $2`, seq, limit)
	if err != nil {
		return nil, err
	}
	b.Events = make([]Event, 0, min(int64(limit), b.Head-seq))
	if err := scan(rows, func(e *Event) error { b.Events = append(b.Events, *e); return nil }); err != nil {
		return nil, err
	}
	b.Through = b.Head
	if len(b.Events) == limit {
		b.Through = b.Events[limit-1].Seq
	}
	if b.Purges, err = readPurges(tx, seq); err != nil {
		return nil, err
	}
	b.Traces, err = readTraces(tx, seq, b.Through)
	return b, err
}

func readPurges(tx *sqldb.Tx, seq int64) ([]Purge, error) {
	rows, err := tx.Query(`SELECT seq, old, new FROM ledger_purges WHERE seq > $1 ORDER BY seq`, seq)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var purges []Purge
	for rows.Next() {
		var p Purge
		var before, after []byte
		if err := rows.Scan(&p.Seq, &before, &after); err != nil {
			return nil, err
		}
		copy(p.Old[:], before)
		copy(p.New[:], after)
		purges = append(purges, p)
	}
	return purges, rows.Err()
}

// readTraces samples: a span with more links than this helps nobody.
func readTraces(tx *sqldb.Tx, after, through int64) ([]string, error) {
	rows, err := tx.Query(`SELECT traces FROM ledger_traces WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT 32`, after, through)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var traces []string
	for rows.Next() {
		var joined string
		if err := rows.Scan(&joined); err != nil {
			return nil, err
		}
		traces = append(traces, strings.Split(joined, "\n")...)
	}
	return traces, rows.Err()
}

// dayBefore gives the last day up to from that has events.
func dayBefore(tx *sqldb.Tx, from int32) (day int32, found bool, err error) {
	var last sql.NullInt64
	err = tx.QueryRow(`SELECT MAX(day) FROM ledger_events WHERE day <= $1`, int64(from)).Scan(&last)
	return int32(last.Int64), last.Valid, err
}

func readSpan(tx *sqldb.Tx) (first, last int32, err error) {
	var low, high sql.NullInt64
	if err := tx.QueryRow(`SELECT MIN(day) FROM ledger_events`).Scan(&low); err != nil {
		return 0, 0, err
	}
	if err := tx.QueryRow(`SELECT MAX(day) FROM ledger_events`).Scan(&high); err != nil {
		return 0, 0, err
	}
	if !low.Valid {
		return 0, -1, nil
	}
	return int32(low.Int64), int32(high.Int64), nil
}

// eachOfDays asks once for all days: twenty years of them are seven thousand questions otherwise.
func eachOfDays(tx *sqldb.Tx, from, to int32, through int64, market string, fn func(*Event) error) error {
	query, args := `SELECT `+columns+` FROM ledger_events WHERE day >= $1 AND day <= $2 AND seq <= $3`, []any{int64(from), int64(to), through}
	if market != "" {
		query, args = query+` AND market = $4`, append(args, market)
	}
	rows, err := tx.Query(query+` ORDER BY day, seq`, args...)
	if err != nil {
		return err
	}
	return scan(rows, fn)
}

func eachOfFilms(tx *sqldb.Tx, day int32, through int64, films []string, fn func(*Event) error) error {
	args := []any{int64(day), through}
	for _, film := range films {
		args = append(args, film)
	}
	rows, err := tx.Query(`SELECT `+columns+` FROM ledger_events WHERE day = $1 AND seq <= $2 AND film IN (`+placeholders(3, len(films))+`) ORDER BY seq`, args...)
	if err != nil {
		return err
	}
	return scan(rows, fn)
}

func eachOfMarket(tx *sqldb.Tx, market string, through int64, fn func(*Event) error) error {
	query, args := `SELECT `+columns+` FROM ledger_events WHERE seq <= $1 ORDER BY seq`, []any{through}
	if market != "" {
		query, args = `SELECT `+columns+` FROM ledger_events WHERE seq <= $1 AND market = $2 ORDER BY seq`, append(args, market)
	}
	rows, err := tx.Query(query, args...)
	if err != nil {
		return err
	}
	return scan(rows, fn)
}

// scan hands every row to fn and closes rows. Markets and films repeat, so their strings
// are shared.
func scan(rows *sql.Rows, fn func(*Event) error) error {
	defer rows.Close()
	var (
		e                    Event
		market, film, viewer sql.RawBytes
		names                = map[string]string{}
	)
	shared := func(b []byte) string {
		if s, ok := names[string(b)]; ok {
			return s
		}
		s := string(b)
		names[s] = s
		return s
	}
	for rows.Next() {
		var day, kind, audience int64
		if err := rows.Scan(&e.Seq, &day, &market, &film, &viewer, &kind, &e.Value, &e.Occur, &audience, &e.Receipt); err != nil {
			return err
		}
		e.Day, e.Kind, e.Audience = int32(day), pb.Event_Kind(kind), pb.Viewer_Audience(audience)
		e.Market, e.Film = shared(market), shared(film)
		e.Viewer = Viewer{}
		copy(e.Viewer[:], viewer)
		if err := fn(&e); err != nil {
			return err
		}
	}
	return rows.Err()
}

func forget(tx *sqldb.Tx, seq int64) error {
	if _, err := tx.Exec(`DELETE FROM ledger_purges WHERE seq <= $1`, seq); err != nil {
		return err
	}
	_, err := tx.Exec(`DELETE FROM ledger_traces WHERE seq <= $1`, seq)
	return err
}
