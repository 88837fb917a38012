package rank

import (
	"context"
	"errors"
	"log/slog"
	"math"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/ledger"
	"github.com/aitheater/theater/internal/sqldb"
)

const (
	// recentDays are the UTC days of which the keys stay in memory come what may.
	recentDays = 4
	// spareKeys bounds the keys of older days that stay in memory: 1 GiB at the most would be
	// 20 million.
	spareKeys = 4_000_000
)

// dayKeys is what was counted on one UTC day: of every event at or below the watermark.
type dayKeys struct {
	markets map[int]*marketKeys
	size    int
	used    int64
	// log is what happened to keys that are stored, since the last checkpoint; nil where they
	// are not. purged says that it renames some.
	log    *keyLog
	purged bool
}

func newDayKeys() *dayKeys { return &dayKeys{markets: map[int]*marketKeys{}} }

// marketKeys are a day's keys of one market: see dayKey. A Go map takes 20 to 37 bytes for a key (27
// on average) and 37 to 74 for a play (54).
type marketKeys struct {
	seen  map[viewerKey]struct{}
	plays map[viewerKey]play
}

// play is the counted play of a key: its seconds, and its time within the day (37 bits of
// microseconds) beside its row (27 bits).
type play struct {
	seconds float64
	when    uint64
}

const rowBits = 27

func playOf(e *ledger.Event, row uint32) play {
	return play{e.Value, uint64(e.Occur-int64(e.Day)*ledger.MicrosPerDay)<<rowBits | uint64(row)}
}

func (p play) row() uint32 { return uint32(p.when & (1<<rowBits - 1)) }

func (p play) occur(day int32) int64 {
	return int64(day)*ledger.MicrosPerDay + int64(p.when>>rowBits)
}

func (d *dayKeys) market(id int) *marketKeys {
	m := d.markets[id]
	if m == nil {
		m = &marketKeys{map[viewerKey]struct{}{}, map[viewerKey]play{}}
		d.markets[id] = m
	}
	return m
}

// seeOn puts an event among its day's keys. It gives whether it counts, and the play that
// no longer counts because of it.
func (s *state) seeOn(d *dayKeys, e *ledger.Event) (counts bool, instead *play) {
	id, film := s.market(e.Market), s.film(e.Film)
	m, row := d.market(id), s.rowOf(s.markets[id], film)
	key := s.dayKey(&e.Viewer, film, e.Kind)
	if e.Kind != pb.Event_PLAY {
		if _, seen := m.seen[key]; seen {
			return false, nil
		}
		m.seen[key] = struct{}{}
		d.size++
		if d.log != nil {
			d.log.w.seen(e.Market, key)
		}
		return true, nil
	}
	old, seen := m.plays[key]
	if seen && e.Value <= old.seconds {
		return false, nil
	}
	p := playOf(e, row)
	m.plays[key] = p
	if d.log != nil {
		d.log.w.play(e.Market, key, e.Film, p)
	}
	if seen {
		return true, &old
	}
	d.size++
	return true, nil
}

// firstRecent is the first of the recent days.
func (s *state) firstRecent() int32 { return ledger.DayOf(s.at) - recentDays + 1 }

// oldestSaved is the first day whose keys a checkpoint holds: those of recent days and
// those a window may begin in.
func (s *state) oldestSaved() int32 { return min(s.firstRecent(), s.oldestBucket()) }

// prepare loads what folding a batch will ask for, so that the fold itself cannot fail half
// way. It reports whether anything was read.
func (l *leader) prepare(ctx context.Context, s *state, events []ledger.Event) (read bool, err error) {
	last := int32(math.MinInt32)
	for i := range events {
		if e := &events[i]; e.Kind != pb.Event_RATE && e.Day != last {
			last = e.Day
			if s.days[last] == nil {
				read = true
			}
			if _, err := l.day(ctx, s, last); err != nil {
				return read, err
			}
		}
	}
	return read, nil
}

// day gives the keys of a day, read from the checkpoint or from the ledger if they are not in
// memory.
func (l *leader) day(ctx context.Context, s *state, day int32) (*dayKeys, error) {
	d := s.days[day]
	if saved, known := s.saved[day]; d == nil && known {
		err := l.db.Read(ctx, func(tx *sqldb.Tx) error {
			d = newDayKeys()
			r := &keyReader{state: s, day: d, by: renames{}}
			return readKeys(tx, day, saved.First, l.stored.Last, r.read)
		})
		switch {
		case errors.Is(err, errSegment):
			slog.WarnContext(ctx, "the keys of a day cannot be read; they are gathered from the ledger", "day", day)
			delete(s.saved, day)
			d = nil
		case err != nil:
			return nil, err
		default:
			d.log = newKeyLog()
			for _, m := range d.markets {
				d.size += len(m.seen) + len(m.plays)
			}
		}
	}
	if d == nil {
		d = newDayKeys()
		if err := l.readDay(ctx, s, d, day); err != nil {
			return nil, err
		}
	}
	s.used++
	d.used = s.used
	s.days[day] = d
	return d, nil
}

// readDay gathers a day's keys from the ledger.
func (l *leader) readDay(ctx context.Context, s *state, d *dayKeys, day int32) error {
	if s.watermark == 0 {
		return nil
	}
	return l.ledger.Days(ctx, day, day, s.watermark, "", func(e *ledger.Event) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if e.Kind != pb.Event_RATE && e.Kind > 0 && int(e.Kind) < nKinds {
			s.seeOn(d, e)
		}
		return nil
	})
}

// forgetDays lets go of old days' keys, those not used for longest first, until what is left
// fits. Those that the next checkpoint has to write down stay.
func (s *state) forgetDays() {
	recent := s.firstRecent()
	for {
		spare, oldest, least := 0, int32(0), int64(-1)
		for day, d := range s.days {
			if day >= recent || !d.log.empty() {
				continue
			}
			spare += d.size
			if least < 0 || d.used < least {
				oldest, least = day, d.used
			}
		}
		if spare <= spareKeys || least < 0 {
			return
		}
		delete(s.days, oldest)
	}
}

// renames are purges by the first half of the old hash.
type renames map[uint64]ledger.Purge

// rename makes every key of a purged viewer one of the new hash. Keys are found by the first
// half of the hash, which no row is mixed into.
func (s *state) rename(purges []ledger.Purge) {
	for len(purges) > 0 && purges[0].Seq <= s.renamed {
		purges = purges[1:] // done with an earlier batch
	}
	if len(purges) == 0 {
		return
	}
	s.renamed = purges[len(purges)-1].Seq
	s.purged = append(s.purged, purges...)
	by := renames{}
	for _, p := range purges {
		key := keyOf(&p.Old, 0, 0)[0]
		if _, earlier := by[key]; !earlier { // who came back after it is not in memory yet
			by[key] = p
		}
	}
	for _, d := range s.days {
		moved := 0
		for _, m := range d.markets {
			moved += renameKeys(by, m.seen) + renameKeys(by, m.plays)
		}
		if moved > 0 && d.log != nil {
			d.log.rename(by)
			d.purged = true
		}
	}
	for i := range s.waiting {
		if p, purged := by[keyOf(&s.waiting[i].Viewer, 0, 0)[0]]; purged {
			s.waiting[i].Viewer = p.New
		}
	}
	for _, m := range s.markets {
		renameKeys(by, m.dirtyMarks)
		renameKeys(by, m.ratings)
		renameKeys(by, m.likes)
	}
}

func renameKeys[V any](by renames, keys map[viewerKey]V) (moved int) {
	type move struct{ from, to viewerKey }
	var moves []move
	for key := range keys {
		if p, ok := by[key[0]]; ok {
			moves = append(moves, move{key, renamed(&p, key)})
		}
	}
	for _, m := range moves {
		v := keys[m.from]
		delete(keys, m.from)
		keys[m.to] = v
	}
	return len(moves)
}

// renamed is a key of a purged viewer's as one of the new hash, with the same things mixed in.
func renamed(p *ledger.Purge, key viewerKey) viewerKey {
	from, to := keyOf(&p.Old, 0, 0), keyOf(&p.New, 0, 0)
	return viewerKey{to[0], to[1] ^ key[1] ^ from[1]}
}
