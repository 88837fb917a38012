package rank

import (
	"encoding/binary"
	"errors"
	"math"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/ledger"
)

// A segment is a piece of a checkpoint: records that say how something is as of the
// checkpoint's watermark; of two records about one thing the later one holds. Names are
// written out where they first occur in a segment and are numbers after that.
const (
	recordCell    = 'C'
	recordCounts  = 'F'
	recordRating  = 'R'
	recordLikes   = 'L'
	recordPurge   = 'P'
	recordWaiting = 'W' // replaces all that wait
)

// segmentSize is about how long a segment may get: the time its transaction takes.
const segmentSize = 2 << 20

var errSegment = errors.New("rank: a segment of the checkpoint cannot be read")

// segmentWriter makes segments.
type segmentWriter struct {
	b     []byte
	names map[string]uint64
	flush func(body []byte) error
	err   error
}

func newSegmentWriter(flush func(body []byte) error) *segmentWriter {
	return &segmentWriter{names: map[string]uint64{}, flush: flush}
}

// begin starts a record, in a new segment where the last one is full.
func (w *segmentWriter) begin(kind byte) {
	if len(w.b) >= segmentSize {
		w.end()
	}
	w.b = append(w.b, kind)
}

// end hands the last segment over.
func (w *segmentWriter) end() {
	if len(w.b) > 0 && w.err == nil {
		w.err = w.flush(w.b)
	}
	w.b = nil
	clear(w.names)
}

func (w *segmentWriter) name(s string) {
	if n, known := w.names[s]; known {
		w.b = binary.AppendUvarint(w.b, n)
		return
	}
	w.names[s] = uint64(len(w.names) + 1)
	w.b = binary.AppendUvarint(w.b, 0)
	w.b = binary.AppendUvarint(w.b, uint64(len(s)))
	w.b = append(w.b, s...)
}

func (w *segmentWriter) uint(x uint64)   { w.b = binary.AppendUvarint(w.b, x) }
func (w *segmentWriter) int(x int64)     { w.b = binary.AppendVarint(w.b, x) }
func (w *segmentWriter) float(x float64) { w.b = appendFloat(w.b, x) }

func appendFloat(b []byte, x float64) []byte {
	return binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
}

// write writes what changed since the last checkpoint, or everything.
func (s *state) write(w *segmentWriter, all bool) {
	if !all {
		for _, p := range s.purged {
			w.begin(recordPurge)
			w.b = append(append(w.b, p.Old[:]...), p.New[:]...)
		}
	}
	for i, m := range s.markets {
		s.writeMarket(w, m, i, all)
	}
	if all {
		for film, c := range s.counts {
			s.writeCounts(w, film, c)
		}
	} else {
		for film := range s.dirtyCounts {
			s.writeCounts(w, film, s.counts[film])
		}
	}
	w.begin(recordWaiting)
	w.uint(uint64(len(s.waiting)))
	for i := range s.waiting {
		e := &s.waiting[i]
		w.int(e.Seq)
		w.uint(uint64(e.Kind))
		w.uint(uint64(e.Audience))
		w.b = append(w.b, e.Viewer[:]...)
		w.name(e.Market)
		w.name(e.Film)
		w.float(e.Value)
		w.int(e.Occur)
	}
	w.end()
}

func (s *state) writeMarket(w *segmentWriter, m *market, id int, all bool) {
	if all {
		for row := range m.rows {
			s.writeCell(w, m, uint32(row))
		}
		for key, r := range m.ratings {
			s.writeRating(w, m, key, r)
		}
		for key, l := range m.likes {
			s.writeLikes(w, m, key, l)
		}
		return
	}
	for _, row := range m.dirtyRows {
		s.writeCell(w, m, row)
	}
	for key := range m.dirtyMarks {
		if r, ok := m.ratings[key]; ok {
			s.writeRating(w, m, key, r)
		}
		if l := m.likes[key]; l != nil {
			s.writeLikes(w, m, key, l)
		}
	}
}

func (s *state) writeCell(w *segmentWriter, m *market, row uint32) {
	c := &m.rows[row]
	w.begin(recordCell)
	w.name(m.name)
	w.name(s.films[c.film])
	for _, n := range c.counts {
		w.uint(uint64(n))
	}
	w.float(c.ratingSum)
	n := len(s.needs.sums)
	for _, x := range m.sums[int(row)*n : int(row+1)*n] {
		w.float(x.m)
		w.int(int64(x.e))
	}
	n = len(s.needs.thresholds)
	for _, x := range m.positives[int(row)*n : int(row+1)*n] {
		w.uint(uint64(x))
	}
	oldest := s.oldestBucket()
	for len(c.days) > 0 && c.days[0].day < oldest {
		c.days = c.days[1:]
	}
	w.uint(uint64(len(c.days)))
	for _, d := range c.days {
		w.int(int64(d.day))
		w.int(int64(d.plays))
		w.float(d.seconds)
	}
}

func (s *state) writeCounts(w *segmentWriter, film uint32, c *filmCounts) {
	w.begin(recordCounts)
	w.name(s.films[film])
	w.float(c.seconds)
	w.int(c.likes)
	if c.children == nil {
		w.b = append(w.b, 0)
		return
	}
	w.b = c.children.append(append(w.b, 1))
}

func (s *state) writeRating(w *segmentWriter, m *market, key viewerKey, r rating) {
	w.begin(recordRating)
	v := key.viewer(r.row, 0)
	w.b = append(w.b, v[:]...)
	w.name(m.name)
	w.name(s.films[m.rows[r.row].film])
	w.float(r.value)
	w.int(r.occur)
}

func (s *state) writeLikes(w *segmentWriter, m *market, key viewerKey, l *likes) {
	w.begin(recordLikes)
	v := key.viewer(l.row, 0)
	w.b = append(w.b, v[:]...)
	w.name(m.name)
	w.name(s.films[m.rows[l.row].film])
	w.uint(uint64(len(l.times)))
	for _, t := range l.times {
		w.int(t)
	}
}

// written forgets what changed: a checkpoint has it.
func (s *state) written() {
	s.purged = s.purged[:0]
	clear(s.dirtyCounts)
	for _, m := range s.markets {
		for _, row := range m.dirtyRows {
			m.rows[row].dirty = false
		}
		m.dirtyRows = m.dirtyRows[:0]
		clear(m.dirtyMarks)
	}
	for day, d := range s.days {
		d.log, d.purged = nil, false
		if _, saved := s.saved[day]; saved {
			d.log = newKeyLog()
		}
	}
}

// read takes a segment in, in the order in which they were written.
func (s *state) read(body []byte) error {
	r := &segmentReader{b: body}
	for len(r.b) > 0 && !r.bad {
		switch r.byte() {
		case recordCell:
			s.readCell(r)
		case recordCounts:
			s.readCounts(r)
		case recordRating:
			key, m, row := s.readKey(r)
			m.ratings[key] = rating{r.float(), r.varint(), row}
		case recordLikes:
			key, m, row := s.readKey(r)
			l := &likes{row: row}
			for n := r.uvarint(); n > 0 && !r.bad; n-- {
				l.times = append(l.times, r.varint())
			}
			m.likes[key] = l
		case recordPurge:
			p := r.purge()
			p.Seq = s.renamed + 1
			s.rename([]ledger.Purge{p})
		case recordWaiting:
			s.readWaiting(r)
		default:
			r.bad = true
		}
	}
	if r.bad {
		return errSegment
	}
	return nil
}

func (s *state) readKey(r *segmentReader) (viewerKey, *market, uint32) {
	var v ledger.Viewer
	copy(v[:], r.take(len(v)))
	m := s.markets[s.market(r.name())]
	row := s.rowOf(m, s.film(r.name()))
	return keyOf(&v, row, 0), m, row
}

func (s *state) readCell(r *segmentReader) {
	m := s.markets[s.market(r.name())]
	row := s.rowOf(m, s.film(r.name()))
	c := &m.rows[row]
	for _, n := range c.counts {
		m.events -= int64(n)
	}
	m.n -= int64(c.counts[pb.Event_RATE])
	m.sum -= c.ratingSum
	for k := range c.counts {
		c.counts[k] = uint32(r.uvarint())
		m.events += int64(c.counts[k])
	}
	c.ratingSum = r.float()
	m.n += int64(c.counts[pb.Event_RATE])
	m.sum += c.ratingSum
	for i := range s.needs.sums {
		m.sums[int(row)*len(s.needs.sums)+i] = score{r.float(), int(r.varint())}
	}
	for i := range s.needs.thresholds {
		m.positives[int(row)*len(s.needs.thresholds)+i] = uint32(r.uvarint())
	}
	c.days = nil
	for n := r.uvarint(); n > 0 && !r.bad; n-- {
		c.days = append(c.days, bucket{int32(r.varint()), int32(r.varint()), r.float()})
	}
}

func (s *state) readCounts(r *segmentReader) {
	film := s.film(r.name())
	c := &filmCounts{seconds: r.float(), likes: r.varint()}
	if r.byte() == 1 {
		c.children = &childCounts{}
		c.children.read(r)
	}
	s.counts[film] = c
}

func (s *state) readWaiting(r *segmentReader) {
	s.waiting = nil
	for n := r.uvarint(); n > 0 && !r.bad; n-- {
		e := ledger.Event{Seq: r.varint(), Kind: pb.Event_Kind(r.uvarint()), Audience: pb.Viewer_Audience(r.uvarint())}
		copy(e.Viewer[:], r.take(len(e.Viewer)))
		e.Market, e.Film, e.Value, e.Occur = r.name(), r.name(), r.float(), r.varint()
		e.Day = ledger.DayOf(e.Occur)
		r.bad = r.bad || e.Kind <= 0 || int(e.Kind) >= nKinds
		s.waiting = append(s.waiting, e)
	}
}

// segmentReader takes a segment apart; once it ran out of bytes it is bad for good and
// gives zeros.
type segmentReader struct {
	b     []byte
	names []string
	bad   bool
}

func (r *segmentReader) take(n int) []byte {
	if r.bad || n < 0 || n > len(r.b) {
		r.bad = true
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *segmentReader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *segmentReader) uvarint() uint64 {
	x, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad = true
		return 0
	}
	r.take(n)
	return x
}

func (r *segmentReader) varint() int64 {
	x, n := binary.Varint(r.b)
	if n <= 0 {
		r.bad = true
		return 0
	}
	r.take(n)
	return x
}

func (r *segmentReader) float() float64 {
	if b := r.take(8); b != nil {
		return math.Float64frombits(binary.LittleEndian.Uint64(b))
	}
	return 0
}

func (r *segmentReader) purge() (p ledger.Purge) {
	copy(p.Old[:], r.take(len(p.Old)))
	copy(p.New[:], r.take(len(p.New)))
	return p
}

func (r *segmentReader) key() (key viewerKey) {
	if b := r.take(16); b != nil {
		key = viewerKey{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])}
	}
	return key
}

func (r *segmentReader) name() string {
	n := r.uvarint()
	if n == 0 {
		name := string(r.take(int(min(r.uvarint(), math.MaxInt32))))
		r.names = append(r.names, name)
		return name
	}
	if n > uint64(len(r.names)) {
		r.bad = true
		return ""
	}
	return r.names[n-1]
}
