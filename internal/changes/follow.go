package changes

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/aitheater/theater/internal/sqldb"
)

// Applier is what a follower keeps up to date.
type Applier interface {
	// Load replaces everything by what next gives until it reports false, as of revision.
	Load(revision int64, next func() (Resource, bool)) error
	// Withdraw closes the gate for the named films until revision is applied.
	Withdraw(revision int64, names []string)
	// Apply makes whole revisions visible at once; a nil Body means the resource is gone.
	// Each name comes once. The slice belongs to the applier.
	Apply(revision int64, changes []Resource)
}

const (
	// pollEvery is how long a follower sleeps when it has caught up.
	pollEvery = 200 * time.Millisecond
	// pollLimit bounds one poll, so that a database that stalls is seen as silent.
	pollLimit = 2 * time.Second
	// readAtOnce is how many history rows one poll reads; more than any one write has.
	readAtOnce = maxChanges + 1
)

// errReload says that the history is not the one followed so far.
var errReload = errors.New("the store's history is another one than before")

// Follow loads a into memory and keeps it up to date until ctx ends: a poll every 200 ms or
// as soon as a local write or Wake asks for it, withdrawals first. While the database is
// silent what was loaded stays.
func (l *Log) Follow(ctx context.Context, a Applier) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return l.follow(ctx, a) })
	group.Go(func() error { return l.report(ctx) })
	group.Go(func() error { return l.keepHouse(ctx) })
	if err := group.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func (l *Log) follow(ctx context.Context, a Applier) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	loaded, silent := false, false
	for {
		var more bool
		var err error
		if !loaded {
			err = l.load(ctx, a)
			loaded = err == nil
		} else if more, err = l.poll(ctx, a); errors.Is(err, errReload) {
			slog.WarnContext(ctx, "reloading everything", "why", err)
			loaded = false
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if (err != nil) != silent {
			if silent = err != nil; silent {
				slog.WarnContext(ctx, "the database does not answer the follower; what is loaded goes on", "error", err)
			} else {
				slog.InfoContext(ctx, "the follower reads the database", "revision", l.Applied())
			}
		}
		if more {
			continue
		}
		timer.Reset(pollEvery)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.wake:
		case <-timer.C:
		}
	}
}

// load reads every resource in one snapshot.
func (l *Log) load(ctx context.Context, a Applier) error {
	var revision int64
	var store string
	var all []Resource
	err := l.db.Read(ctx, func(tx *sqldb.Tx) (err error) {
		if revision, _, err = readHead(tx); err != nil {
			return err
		}
		store, all = tx.StoreID(), nil
		rows, err := tx.Query(selectResources)
		if err != nil {
			return err
		}
		return each(rows, func() error {
			var r Resource
			err := rows.Scan(&r.Name, &r.Revision, &r.Body)
			all = append(all, r)
			return err
		})
	})
	if err != nil {
		return err
	}
	// Only what was read to the end is shown: half a catalogue would look like a whole one.
	err = a.Load(revision, func() (r Resource, ok bool) {
		if len(all) == 0 {
			return r, false
		}
		r, all[0], all = all[0], Resource{}, all[1:]
		return r, true
	})
	if err != nil {
		return err
	}
	l.store, l.withdrawn = store, revision
	l.setApplied(revision)
	l.heard(revision)
	l.first.Do(func() { close(l.full) })
	return nil
}

// poll hands over withdrawals, then whole revisions; more says that it has not caught up.
func (l *Log) poll(ctx context.Context, a Applier) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, pollLimit)
	defer cancel()
	applied := l.Applied()
	var rows []HistoryRow
	var head int64
	err = l.db.Read(ctx, func(tx *sqldb.Tx) error {
		var trimmed int64
		var err error
		if head, trimmed, err = readHead(tx); err != nil {
			return err
		}
		if head < applied || applied < trimmed || tx.StoreID() != l.store {
			return errReload
		}
		if head == applied {
			return nil
		}
		if err := l.withdraw(tx, a); err != nil {
			return err
		}
		rows, err = queryHistory(tx, `WHERE revision > $1 ORDER BY revision, idx LIMIT $2`, applied, readAtOnce)
		return err
	})
	if err != nil {
		return false, err
	}
	l.heard(head)
	upto, changes := wholeRevisions(rows, head)
	if upto > applied {
		a.Apply(upto, changes)
		l.setApplied(upto)
	}
	return upto < head, nil
}

func (l *Log) withdraw(tx *sqldb.Tx, a Applier) error {
	found, err := readWithdrawals(tx, max(l.withdrawn, l.Applied()))
	if err != nil {
		return err
	}
	for len(found) > 0 {
		revision := found[0].Revision
		var names []string
		for len(found) > 0 && found[0].Revision == revision {
			names, found = append(names, found[0].Name), found[1:]
		}
		a.Withdraw(revision, names)
		l.withdrawn = revision
	}
	return nil
}

// wholeRevisions cuts what may be the middle of a revision off the end of rows, and keeps
// the last row of each name.
func wholeRevisions(rows []HistoryRow, head int64) (upto int64, changes []Resource) {
	upto = head
	if len(rows) == readAtOnce {
		upto = rows[len(rows)-1].Revision - 1
	}
	at := make(map[string]int, len(rows))
	for _, r := range rows {
		if r.Revision > upto {
			break
		}
		c := Resource{Name: r.Name, Revision: r.Revision, Body: r.Body}
		if i, ok := at[r.Name]; ok {
			changes[i] = c
			continue
		}
		at[r.Name] = len(changes)
		changes = append(changes, c)
	}
	return upto, changes
}

// heard notes that the database answered, and its head.
func (l *Log) heard(head int64) {
	l.change(func(s *state) {
		if s.cutOff {
			slog.Info("the database is confirmed again; viewers are served", "head", head)
		}
		s.loaded, s.head, s.polled, s.ahead, s.cutOff = true, head, time.Now(), time.Time{}, false
	})
}
