package rank

import (
	"crypto/sha256"
	"encoding/binary"
	"iter"
	"maps"
	"slices"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/ledger"
)

// A day's keys are stored as segments of records. The order of records between purges does not
// matter: keys are a set, and of plays the greatest value counts. A purge stands at the
// beginning of its segment and is for all segments before it.
const (
	recordSeen = 'S' // market key
	recordPlay = 'V' // market key film seconds time-of-the-day
	// recordPurge: old new
)

// dayKey is what an event is counted once for on its day: a viewer, into whose second half a
// hash of the film and the kind are mixed. It is the same in every process, and no film's
// number or row is in it, so that it can be stored as it is.
func (s *state) dayKey(v *ledger.Viewer, film uint32, kind pb.Event_Kind) viewerKey {
	key := keyOf(v, 0, 0)
	key[1] ^= s.filmHash[film]&^0xff | uint64(kind)
	return key
}

func filmHash(name string) uint64 {
	sum := sha256.Sum256([]byte(name))
	return binary.LittleEndian.Uint64(sum[:])
}

// keyLog is what happened to a day's keys since the last checkpoint.
type keyLog struct {
	w      *segmentWriter
	bodies [][]byte
}

func newKeyLog() *keyLog {
	l := &keyLog{}
	l.w = newSegmentWriter(func(body []byte) error { l.bodies = append(l.bodies, body); return nil })
	return l
}

// empty is also true of nil, the log of a day that is not stored.
func (l *keyLog) empty() bool { return l == nil || len(l.bodies) == 0 && len(l.w.b) == 0 }

// segments are the log so far.
func (l *keyLog) segments() iter.Seq[[]byte] {
	l.w.end()
	return slices.Values(l.bodies)
}

// rename notes purges, which are for all keys so far.
func (l *keyLog) rename(by renames) {
	l.w.end()
	for _, p := range by {
		l.w.begin(recordPurge)
		l.w.b = append(append(l.w.b, p.Old[:]...), p.New[:]...)
	}
}

func (w *segmentWriter) seen(market string, key viewerKey) {
	w.begin(recordSeen)
	w.name(market)
	w.key(key)
}

func (w *segmentWriter) play(market string, key viewerKey, film string, p play) {
	w.begin(recordPlay)
	w.name(market)
	w.key(key)
	w.name(film)
	w.float(p.seconds)
	w.uint(p.when >> rowBits)
}

func (w *segmentWriter) key(key viewerKey) {
	w.b = binary.LittleEndian.AppendUint64(w.b, key[0])
	w.b = binary.LittleEndian.AppendUint64(w.b, key[1])
}

// segments are all of a day's keys.
func (d *dayKeys) segments(s *state) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		more := true
		w := newSegmentWriter(func(body []byte) error { more = more && yield(body); return nil })
		for id, keys := range d.markets {
			m := s.markets[id]
			for key := range keys.seen {
				w.seen(m.name, key)
			}
			for key, p := range keys.plays {
				w.play(m.name, key, s.films[m.rows[p.row()].film], p)
			}
		}
		w.end()
	}
}

// keyReader reads a day's segments, the newest first.
type keyReader struct {
	state *state
	day   *dayKeys
	by    renames // of the segments after this one
}

func (k *keyReader) read(body []byte) error {
	r := &segmentReader{b: body}
	purges := renames{}
	s := k.state
	for len(r.b) > 0 && !r.bad {
		switch r.byte() {
		case recordPurge:
			p := r.purge()
			purges[keyOf(&p.Old, 0, 0)[0]] = p
		case recordSeen:
			market := s.market(r.name())
			k.day.market(market).seen[k.renamed(r.key())] = struct{}{}
		case recordPlay:
			market := s.market(r.name())
			key := k.renamed(r.key())
			row := s.rowOf(s.markets[market], s.film(r.name()))
			p := play{r.float(), r.uvarint()<<rowBits | uint64(row)}
			plays := k.day.market(market).plays
			if old, known := plays[key]; !known || p.seconds > old.seconds {
				plays[key] = p
			}
		default:
			r.bad = true
		}
	}
	if r.bad {
		return errSegment
	}
	maps.Copy(k.by, purges)
	return nil
}

// renamed is a key as it is after the purges that followed.
func (k *keyReader) renamed(key viewerKey) viewerKey {
	if p, purged := k.by[key[0]]; purged {
		return renamed(&p, key)
	}
	return key
}
