package rank

import (
	"github.com/aitheater/theater/internal/generations"
	"github.com/aitheater/theater/internal/ledger"
)

// state is the fold of the ledger up to a watermark, cut at a time: all that the lists are
// made of. It belongs to one goroutine.
type state struct {
	needs needs
	// watermark is the last sequence number folded.
	watermark int64
	// at is the time up to which events count, in microseconds since 1970; later ones wait.
	at int64

	films    []string
	filmID   map[string]uint32
	filmHash []uint64 // see dayKey
	// markets[0] is the world: every event counts in its own market and there.
	markets  []*market
	marketID map[string]int
	days     map[int32]*dayKeys
	// saved are the days whose keys the checkpoint holds, with those in their logs.
	saved map[int32]savedDay
	// waiting are events whose time has not come, in sequence; for ratings it is decided only
	// then whether they are the latest.
	waiting []ledger.Event
	counts  map[uint32]*filmCounts // of the world, by film
	// lossy are sums that lost too many digits by a difference.
	lossy map[loss]struct{}
	// used counts uses of days, to tell which was not used for longest.
	used int64
	// purged and dirtyCounts are purges done and films changed since the last checkpoint.
	purged      []ledger.Purge
	renamed     int64 // sequence number of the last purge done
	dirtyCounts map[uint32]struct{}
	// newStats are films whose counts changed since they were last published.
	newStats map[uint32]struct{}
}

// market is one market's films.
type market struct {
	name string
	row  map[uint32]uint32 // film → row
	rows []cell
	// sums has len(needs.sums) numbers a row, positives len(needs.thresholds).
	sums      []score
	positives []uint32
	// ratings and likes are by viewer and row: see mark.
	ratings map[viewerKey]rating
	likes   map[viewerKey]*likes
	// n and sum are over all latest ratings: their mean is C.
	n   int64
	sum float64
	// events is how many counted events there are.
	events int64
	// changed says that a list may have moved since the last generation.
	changed bool

	dirtyRows  []uint32
	dirtyMarks map[viewerKey]struct{}
}

// cell is one film in one market.
type cell struct {
	film   uint32
	dirty  bool
	counts [nKinds]uint32
	// ratings are the latest ones.
	ratingSum float64
	// days are watched seconds by UTC day, ascending, as far back as the longest window.
	days []bucket
}

// bucket is one UTC day's counted plays of a film in a market.
type bucket struct {
	day     int32
	plays   int32
	seconds float64
}

// viewerKey is a viewer and a row of a market, and a kind of event where it matters. The
// viewer's hash is random bits, so that mixing the small numbers into it loses nothing: two
// keys are equal by chance as rarely as two hashes are.
type viewerKey [2]uint64

func keyOf(v *ledger.Viewer, row uint32, kind int) viewerKey {
	return viewerKey{
		uint64(v[0]) | uint64(v[1])<<8 | uint64(v[2])<<16 | uint64(v[3])<<24 | uint64(v[4])<<32 | uint64(v[5])<<40 | uint64(v[6])<<48 | uint64(v[7])<<56,
		(uint64(v[8]) | uint64(v[9])<<8 | uint64(v[10])<<16 | uint64(v[11])<<24 | uint64(v[12])<<32 | uint64(v[13])<<40 | uint64(v[14])<<48 | uint64(v[15])<<56) ^
			(uint64(row)<<8 | uint64(kind)),
	}
}

// viewer takes a key of a row apart again.
func (k viewerKey) viewer(row uint32, kind int) (v ledger.Viewer) {
	k[1] ^= uint64(row)<<8 | uint64(kind)
	for i := range 8 {
		v[i], v[8+i] = byte(k[0]>>(8*i)), byte(k[1]>>(8*i))
	}
	return v
}

// rating is a viewer's latest rating of a film in a market.
type rating struct {
	value float64
	occur int64
	row   uint32
}

// likes is a viewer's counted likes and unlikes of a film in a market, by time.
type likes struct {
	row uint32
	// times are occur<<1, odd for an unlike.
	times []int64
}

func newState(n needs) *state {
	s := &state{
		needs: n, filmID: map[string]uint32{}, marketID: map[string]int{}, days: map[int32]*dayKeys{}, saved: map[int32]savedDay{},
		counts: map[uint32]*filmCounts{}, lossy: map[loss]struct{}{}, dirtyCounts: map[uint32]struct{}{}, newStats: map[uint32]struct{}{},
	}
	s.market(generations.World)
	return s
}

// film gives a film's number.
func (s *state) film(name string) uint32 {
	id, known := s.filmID[name]
	if !known {
		id = uint32(len(s.films))
		s.filmID[name] = id
		s.films = append(s.films, name)
		s.filmHash = append(s.filmHash, filmHash(name))
	}
	return id
}

// market gives a market's number.
func (s *state) market(name string) int {
	id, known := s.marketID[name]
	if !known {
		id = len(s.markets)
		s.marketID[name] = id
		s.markets = append(s.markets, &market{
			name: name, row: map[uint32]uint32{}, ratings: map[viewerKey]rating{}, likes: map[viewerKey]*likes{},
			dirtyMarks: map[viewerKey]struct{}{},
		})
	}
	return id
}

// rowOf gives a film's row in a market.
func (s *state) rowOf(m *market, film uint32) uint32 {
	row, known := m.row[film]
	if !known {
		row = uint32(len(m.rows))
		m.row[film] = row
		m.rows = append(m.rows, cell{film: film})
		for range s.needs.sums {
			m.sums = append(m.sums, score{})
		}
		for range s.needs.thresholds {
			m.positives = append(m.positives, 0)
		}
	}
	return row
}

// touch notes that a row changed since the last checkpoint and generation.
func (m *market) touch(row uint32) *cell {
	c := &m.rows[row]
	if !c.dirty {
		c.dirty = true
		m.dirtyRows = append(m.dirtyRows, row)
	}
	m.changed = true
	return c
}

// has reports whether the market has events of its own.
func (m *market) has() bool { return m.events > 0 }

// changed reports whether any list may have moved since the last generation.
func (s *state) changed() bool {
	for _, m := range s.markets {
		if m.changed {
			return true
		}
	}
	return false
}
