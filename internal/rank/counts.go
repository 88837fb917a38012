package rank

import (
	"encoding/binary"
	"hash/fnv"
	"slices"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/ledger"
)

// filmCounts are a film's numbers over all markets that no list needs, but FilmStats.
type filmCounts struct {
	seconds float64
	// likes are those that stand.
	likes    int64
	children *childCounts
}

// childCounts is the part of the numbers that children made.
type childCounts struct {
	seconds float64
	likes   int64
	kinds   [nKinds]childKind
}

// childKind is the children's part of one kind, and whether it may be told.
type childKind struct {
	events int64
	// some are up to five different children of one UTC day, by hash. A child's hash is another
	// one every day, so that only within a day two hashes are two children.
	some []uint32
	day  int32
	many bool
}

// note takes a child's event in.
func (c *childKind) note(e *ledger.Event, sign int) {
	c.events += int64(sign)
	if sign < 0 || c.many || len(c.some) > 0 && e.Day < c.day {
		return
	}
	if e.Day > c.day {
		c.day, c.some = e.Day, c.some[:0]
	}
	if h := blur(e); !slices.Contains(c.some, h) {
		c.some = append(c.some, h)
	}
	if len(c.some) >= fewChildren {
		c.many, c.some = true, nil
	}
}

// blur gives few enough bits of a viewer's hash to tell five viewers apart and no viewer by.
func blur(e *ledger.Event) uint32 {
	h := fnv.New64a()
	h.Write(e.Viewer[:])
	return uint32(h.Sum64())
}

// countsOf gives a film's numbers to be changed.
func (s *state) countsOf(film uint32) *filmCounts {
	c := s.counts[film]
	if c == nil {
		c = &filmCounts{}
		s.counts[film] = c
	}
	s.dirtyCounts[film] = struct{}{}
	return c
}

// countFilm keeps the numbers behind FilmStats.
func (s *state) countFilm(e *ledger.Event, film uint32, sign int) {
	s.newStats[film] = struct{}{}
	if e.Kind == pb.Event_PLAY {
		s.countsOf(film).seconds += float64(sign) * e.Value
	}
	if e.Audience == pb.Viewer_ADULT {
		return
	}
	c := s.countsOf(film)
	if c.children == nil {
		c.children = &childCounts{}
	}
	c.children.kinds[e.Kind].note(e, sign)
	if e.Kind == pb.Event_PLAY {
		c.children.seconds += float64(sign) * e.Value
	}
}

// like takes a counted like or unlike in: an unlike takes back the viewer's latest like
// before it that stands.
func (s *state) like(e *ledger.Event, film uint32) {
	m := s.markets[s.market(e.Market)]
	row := s.rowOf(m, film)
	key := keyOf(&e.Viewer, row, 0)
	l := m.likes[key]
	if l == nil {
		l = &likes{row: row}
		m.likes[key] = l
	}
	m.dirtyMarks[key] = struct{}{}
	before := l.standing()
	t := e.Occur << 1
	if e.Kind == pb.Event_UNLIKE {
		t |= 1
	}
	i, _ := slices.BinarySearch(l.times, t)
	l.times = slices.Insert(l.times, i, t)
	if more := l.standing() - before; more != 0 {
		c := s.countsOf(film)
		c.likes += more
		if e.Audience != pb.Viewer_ADULT {
			if c.children == nil {
				c.children = &childCounts{}
			}
			c.children.likes += more
		}
	}
}

func (l *likes) standing() (n int64) {
	for _, t := range l.times {
		if t&1 == 0 {
			n++
		} else if n > 0 {
			n--
		}
	}
	return n
}

// stats gives a film's public counts, without the part of fewer than five children.
func (s *state) stats(film uint32) *pb.FilmStats {
	row, known := s.markets[0].row[film]
	if !known {
		return nil
	}
	cell, c := &s.markets[0].rows[row], s.counts[film]
	if c == nil {
		c = &filmCounts{}
	}
	k := &cell.counts
	out := &pb.FilmStats{
		Plays: int64(k[pb.Event_PLAY]), Completes: int64(k[pb.Event_COMPLETE]), Shares: int64(k[pb.Event_SHARE]),
		Likes: c.likes, WatchedSeconds: c.seconds, RatingCount: int64(k[pb.Event_RATE]),
	}
	if out.RatingCount > 0 {
		out.RatingAverage = cell.ratingSum / float64(out.RatingCount)
	}
	if ch := c.children; ch != nil {
		few := func(kind pb.Event_Kind) int64 {
			if ch.kinds[kind].many {
				return 0
			}
			return ch.kinds[kind].events
		}
		out.Plays -= few(pb.Event_PLAY)
		out.Completes -= few(pb.Event_COMPLETE)
		out.Shares -= few(pb.Event_SHARE)
		if !ch.kinds[pb.Event_LIKE].many {
			out.Likes -= ch.likes
		}
		if !ch.kinds[pb.Event_PLAY].many {
			out.WatchedSeconds = max(out.WatchedSeconds-ch.seconds, 0)
		}
	}
	return out
}

// appendChildren and its inverse are in segment.go's format.
func (c *childCounts) append(b []byte) []byte {
	b = appendFloat(b, c.seconds)
	b = binary.AppendVarint(b, c.likes)
	for i := range c.kinds {
		k := &c.kinds[i]
		b = binary.AppendVarint(b, k.events)
		many := byte(0)
		if k.many {
			many = 1
		}
		b = append(b, many, byte(len(k.some)))
		b = binary.AppendVarint(b, int64(k.day))
		for _, h := range k.some {
			b = binary.LittleEndian.AppendUint32(b, h)
		}
	}
	return b
}

func (c *childCounts) read(r *segmentReader) {
	c.seconds, c.likes = r.float(), r.varint()
	for i := range c.kinds {
		k := &c.kinds[i]
		k.events = r.varint()
		k.many = r.byte() == 1
		n := int(r.byte())
		k.day = int32(r.varint())
		for range n {
			var h [4]byte
			copy(h[:], r.take(4))
			k.some = append(k.some, binary.LittleEndian.Uint32(h[:]))
		}
	}
}
