package rank

import (
	"context"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/ledger"
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
}

// marketKeys are a day's keys of one market. A Go map takes 20 to 37 bytes for a key (27
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

// see puts an event among the day's keys. It gives whether it counts, and the play that
// no longer counts because of it.
func (d *dayKeys) see(e *ledger.Event, market int, row uint32) (counts bool, instead *play) {
	m := d.market(market)
	key := keyOf(&e.Viewer, row, int(e.Kind))
	if e.Kind != pb.Event_PLAY {
		if _, seen := m.seen[key]; seen {
			return false, nil
		}
		m.seen[key] = struct{}{}
		d.size++
		return true, nil
	}
	old, seen := m.plays[key]
	if seen && e.Value <= old.seconds {
		return false, nil
	}
	m.plays[key] = playOf(e, row)
	if seen {
		return true, &old
	}
	d.size++
	return true, nil
}

// day gives the keys of a day, read from the ledger if they are not in memory.
func (s *state) day(ctx context.Context, log *ledger.Ledger, day int32) (*dayKeys, error) {
	s.used++
	if d := s.days[day]; d != nil {
		d.used = s.used
		return d, nil
	}
	d := &dayKeys{markets: map[int]*marketKeys{}, used: s.used}
	if s.watermark > 0 {
		err := log.Days(ctx, day, day, s.watermark, func(e *ledger.Event) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if e.Kind != pb.Event_RATE && int(e.Kind) < nKinds {
				m := s.market(e.Market)
				d.see(e, m, s.rowOf(s.markets[m], s.film(e.Film)))
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	s.days[day] = d
	return d, nil
}

// forgetDays lets go of old days' keys, those not used for longest first, until what is left
// fits.
func (s *state) forgetDays() {
	recent := ledger.DayOf(s.at) - recentDays + 1
	for {
		spare, oldest, least := 0, int32(0), int64(-1)
		for day, d := range s.days {
			if day >= recent {
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
		for _, m := range d.markets {
			renameKeys(by, m.seen)
			renameKeys(by, m.plays)
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

func renameKeys[V any](by renames, keys map[viewerKey]V) {
	type move struct{ from, to viewerKey }
	var moves []move
	for key := range keys {
		if p, ok := by[key[0]]; ok {
			from, to := keyOf(&p.Old, 0, 0), keyOf(&p.New, 0, 0)
			if mixed := key[1] ^ from[1]; mixed>>(rowBits+8) == 0 {
				moves = append(moves, move{key, viewerKey{to[0], to[1] ^ mixed}})
			}
		}
	}
	for _, m := range moves {
		v := keys[m.from]
		delete(keys, m.from)
		keys[m.to] = v
	}
}
