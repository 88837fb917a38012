package rank

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"maps"
	"time"

	"github.com/aitheater/theater/internal/ledger"
	"github.com/aitheater/theater/internal/sqldb"
	"github.com/aitheater/theater/internal/telemetry"
)

const (
	// minBase is below which a state is not written whole only because its changes add up.
	minBase = 8 << 20
	// purgedFor is how long what a purge renamed may stay in segments under its old name.
	purgedFor = time.Hour
)

// take makes this process the leader: it reads the state of the last one.
func (s *Service) take(ctx context.Context, config Config, epoch int64) (*leader, error) {
	ctx, span := telemetry.Start(ctx, "rank.take")
	defer span.End()
	l := &leader{Service: s, config: config, epoch: epoch, board: newBoard(), batch: 20_000, now: s.clock.Now, checkpointed: time.Now()}
	err := s.db.Read(ctx, func(tx *sqldb.Tx) error {
		l.state, l.stored = nil, checkpoint{}
		c, err := readCheckpoint(tx, func(c *checkpoint, body []byte) error {
			if l.state == nil {
				l.state = newState(c.Needs.needs())
			}
			return l.state.read(body)
		})
		if errors.Is(err, errSegment) {
			slog.WarnContext(ctx, "the checkpoint cannot be read; the ledger is folded from its beginning")
			l.state = nil
			return nil
		}
		if err != nil || c == nil || l.state == nil {
			return err
		}
		l.stored = *c
		l.state.watermark, l.state.at = c.Watermark, c.At
		maps.Copy(l.state.saved, c.Days)
		l.state.written()
		l.state.renamed = 0
		return nil
	})
	if err != nil {
		return nil, err
	}
	if l.state == nil {
		l.state = newState(needsOf(inForce(s.shelf.Current(), s.builtin)))
	}
	slog.InfoContext(ctx, "leading the charts", "epoch", epoch, "watermark", l.state.watermark)
	return l, nil
}

// due reports whether it is time for a checkpoint.
func (l *leader) due() bool {
	return time.Since(l.checkpointed) >= l.config.Checkpoint && (l.state.watermark > l.stored.Watermark || l.outlived(&l.stored))
}

// outlived reports whether something that was purged has stood in segments for too long.
func (l *leader) outlived(c *checkpoint) bool {
	for _, saved := range c.Days {
		if l.expired(saved.Purged) {
			return true
		}
	}
	return l.expired(c.Purged)
}

func (l *leader) expired(purged int64) bool {
	return purged != 0 && l.state.at-purged > purgedFor.Microseconds()
}

// draft is a checkpoint that is being written: its segments become the state with the last
// transaction.
type draft struct {
	*leader
	next checkpoint
	// unwritten are segments that wait for a transaction worth its while.
	unwritten []segment
	size      int
	// begun says that what an earlier draft left behind is gone.
	begun bool
}

// checkpoint stores the state as of its watermark: what changed since the last one, or
// everything where that has become shorter. Segments are written a few at a time, so that
// other writers never wait for long.
func (l *leader) checkpoint(ctx context.Context) error {
	ctx, span := telemetry.Start(ctx, "rank.checkpoint")
	defer span.End()
	if err := l.repair(ctx, l.state); err != nil {
		return err
	}
	d := &draft{leader: l, next: l.stored}
	next := &d.next
	all := next.Format == 0 || next.Bytes > max(next.BaseBytes, minBase) || l.expired(next.Purged)
	if all {
		next.First, next.BaseBytes, next.Bytes, next.Purged = next.Last+1, 0, 0, 0
	} else if len(l.state.purged) > 0 && next.Purged == 0 {
		next.Purged = l.state.at
	}
	w := newSegmentWriter(func(body []byte) error {
		next.Bytes += int64(len(body))
		return d.add(ctx, segment{body: body})
	})
	l.state.write(w, all)
	if w.err != nil {
		return w.err
	}
	if all {
		next.BaseBytes, next.Bytes = next.Bytes, 0
	}
	if err := d.keys(ctx); err != nil {
		return err
	}
	next.Format, next.Needs, next.Watermark, next.At = format, l.state.needs.body(), l.state.watermark, l.state.at
	err := d.flush(ctx, func(tx *sqldb.Tx) error {
		if err := writeCheckpoint(tx, &l.stored, next); err != nil {
			return err
		}
		return l.ledger.Forget(tx, next.Watermark)
	})
	if err != nil {
		return err
	}
	l.stored = *next
	l.state.saved = maps.Clone(next.Days)
	l.state.written()
	l.checkpointed = time.Now()
	return nil
}

// keys writes the keys of the days that are still needed: what was added to those that are
// stored, others whole.
func (d *draft) keys(ctx context.Context) error {
	s := d.state
	d.next.Days = map[int32]savedDay{}
	oldest := s.oldestSaved()
	for day, saved := range s.saved {
		if day < oldest {
			continue
		}
		if d.expired(saved.Purged) {
			if _, err := d.day(ctx, s, day); err != nil { // to be written whole
				return err
			}
		}
		d.next.Days[day] = saved
	}
	for day, keys := range s.days {
		if day < oldest {
			continue
		}
		saved, known := d.next.Days[day]
		var bodies iter.Seq[[]byte]
		if !known || d.expired(saved.Purged) {
			saved = savedDay{First: d.next.Last + 1}
			bodies = keys.segments(s)
		} else {
			bodies = keys.log.segments()
			if keys.purged && saved.Purged == 0 {
				saved.Purged = s.at
			}
		}
		for body := range bodies {
			if err := d.add(ctx, segment{keys: true, day: day, body: body}); err != nil {
				return err
			}
		}
		d.next.Days[day] = saved
	}
	return nil
}

// add puts a segment into the draft.
func (d *draft) add(ctx context.Context, s segment) error {
	d.next.Last++
	s.number = d.next.Last
	d.unwritten = append(d.unwritten, s)
	d.size += len(s.body)
	if d.size < segmentSize {
		return nil
	}
	return d.flush(ctx, func(*sqldb.Tx) error { return nil })
}

// flush writes the segments that wait, and what also writes, if the lease is still ours.
func (d *draft) flush(ctx context.Context, also func(tx *sqldb.Tx) error) error {
	err := d.db.Write(ctx, func(tx *sqldb.Tx) error {
		if err := tx.Guard(leaseName, d.epoch); err != nil {
			return err
		}
		if !d.begun {
			if err := deleteSegmentsAbove(tx, d.stored.Last); err != nil {
				return err
			}
		}
		for _, s := range d.unwritten {
			if err := writeSegment(tx, s); err != nil {
				return err
			}
		}
		return also(tx)
	})
	d.unwritten, d.size, d.begun = d.unwritten[:0], 0, true
	return err
}

// purge renames a state's keys. The days' keys that are stored but not in memory are read
// where they may be asked for soon; others are given up, and read from the ledger if need be.
func (l *leader) purge(ctx context.Context, s *state, purges []ledger.Purge) error {
	if len(purges) == 0 || purges[len(purges)-1].Seq <= s.renamed {
		return nil
	}
	for day := range s.saved {
		switch {
		case s.days[day] != nil:
		case day < s.firstRecent():
			delete(s.saved, day)
		default:
			if _, err := l.day(ctx, s, day); err != nil {
				return err
			}
		}
	}
	s.rename(purges)
	return nil
}
