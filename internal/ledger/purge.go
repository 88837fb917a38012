package ledger

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/sqldb"
)

// stride is how many sequence numbers a purge reads in one transaction.
const stride = 200_000

// Purge replaces each of the viewers by a random one of its own, in every row there is, and
// tells folds by a row of ledger_purges. It gives the number of rows changed. also runs in the
// transaction, with that number.
//
// The log is read outside of the writers' lock first, however long it is; inside stand only the
// rows that came since.
func (l *Ledger) Purge(ctx context.Context, viewers []Viewer, also func(tx *sqldb.Tx, rows int64) error) (rows int64, err error) {
	seqs := map[Viewer][]int64{}
	head, err := l.Head(ctx)
	if err != nil {
		return 0, err
	}
	for from := int64(0); from < head; from += stride {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		err := l.db.Read(ctx, func(tx *sqldb.Tx) error { return findViewers(tx, viewers, from, min(from+stride, head), seqs) })
		if err != nil {
			return 0, err
		}
	}
	replacement := make(map[Viewer]Viewer, len(viewers))
	for _, old := range viewers {
		var v Viewer
		if _, err := rand.Read(v[:]); err != nil {
			return 0, err
		}
		replacement[old] = v
	}
	err = l.db.Write(ctx, func(tx *sqldb.Tx) error {
		rows, err = replaceViewers(tx, viewers, replacement, head, seqs)
		if err != nil {
			return err
		}
		return also(tx, rows)
	})
	return rows, err
}

// findViewers adds the numbers of the viewers' rows in (after, through] to seqs.
func findViewers(tx *sqldb.Tx, viewers []Viewer, after, through int64, seqs map[Viewer][]int64) error {
	args := []any{after, through}
	for _, v := range viewers {
		args = append(args, v[:])
	}
	found, err := tx.Query(`SELECT seq, viewer FROM ledger_events WHERE seq > $1 AND seq <= $2 AND viewer IN (`+placeholders(3, len(viewers))+`)`, args...)
	if err != nil {
		return err
	}
	defer found.Close()
	for found.Next() {
		var seq int64
		var viewer []byte
		if err := found.Scan(&seq, &viewer); err != nil {
			return err
		}
		v := Viewer(viewer)
		seqs[v] = append(seqs[v], seq)
	}
	return found.Err()
}

func replaceViewers(tx *sqldb.Tx, viewers []Viewer, replacement map[Viewer]Viewer, head int64, known map[Viewer][]int64) (rows int64, err error) {
	seq, err := take(tx, 1) // nobody appends from here on
	if err != nil {
		return 0, err
	}
	late := map[Viewer][]int64{}
	if err := findViewers(tx, viewers, head, seq, late); err != nil {
		return 0, err
	}
	for _, old := range viewers {
		changed := int64(0)
		for _, seqs := range [][]int64{known[old], late[old]} {
			n, err := replaceViewer(tx, old, replacement[old], seqs)
			if err != nil {
				return 0, err
			}
			changed += n
		}
		rows += changed
		if changed == 0 {
			continue
		}
		to := replacement[old]
		if _, err := tx.Exec(`INSERT INTO ledger_purges (seq, old, new) VALUES ($1, $2, $3)`, seq, old[:], to[:]); err != nil {
			return 0, err
		}
	}
	return rows, nil
}

func replaceViewer(tx *sqldb.Tx, old, to Viewer, seqs []int64) (rows int64, err error) {
	const atOnce = 200
	for len(seqs) > 0 {
		n := min(len(seqs), atOnce)
		args := []any{to[:], old[:]}
		for _, seq := range seqs[:n] {
			args = append(args, seq)
		}
		// Rows may have gone, or been purged by another call, since they were found.
		changed, err := tx.Exec(`UPDATE ledger_events SET viewer = $1 WHERE viewer = $2 AND seq IN (`+placeholders(3, n)+`)`, args...)
		if err != nil {
			return 0, err
		}
		rows += changed
		seqs = seqs[n:]
	}
	return rows, nil
}

func placeholders(first, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "$%d", first+i)
	}
	return b.String()
}

// Trim removes the oldest piece of the log if all of it was received before a time (in
// microseconds since 1970); ratings stay. It reports whether there may be more.
func (l *Ledger) Trim(ctx context.Context, before int64) (more bool, err error) {
	const piece = 5_000
	err = l.db.Write(ctx, func(tx *sqldb.Tx) error {
		var head, trimmed int64
		if err := tx.QueryRow(`SELECT seq, trimmed FROM ledger_head WHERE one = 1`).Scan(&head, &trimmed); err != nil {
			return err
		}
		end := min(trimmed+piece, head)
		var young int64
		if err := tx.QueryRow(`SELECT COALESCE(MIN(seq), 0) FROM ledger_events WHERE seq > $1 AND seq <= $2 AND receipt >= $3`, trimmed, end, before).Scan(&young); err != nil {
			return err
		}
		more = young == 0 && end < head
		if young != 0 {
			end = young - 1
		}
		if end <= trimmed {
			return nil
		}
		// Another replica may do the same: whoever comes second changes nothing.
		if _, err := tx.Exec(`UPDATE ledger_head SET trimmed = $1 WHERE one = 1 AND trimmed < $1`, end); err != nil {
			return err
		}
		_, err := tx.Exec(`DELETE FROM ledger_events WHERE seq > $1 AND seq <= $2 AND kind <> $3`, trimmed, end, int64(pb.Event_RATE))
		return err
	})
	return more, err
}
