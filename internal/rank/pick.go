package rank

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
	"time"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/generations"
	"github.com/aitheater/theater/internal/shelf"
)

const (
	// head is how many films an adult can see in a list.
	head = 1000
	// hiddenLimit is how many films nobody can see now stand between them, so that they are
	// back at once when they are reinstated.
	hiddenLimit = 1000
	// fill is how many films of each genre, content type and children's band a list holds at
	// least, if there are so many.
	fill = 200
)

// bands are the ages of children, each of which may see what the younger may.
var bands = [...]pb.Film_AgeBand{pb.Film_ALL, pb.Film_AGE_3, pb.Film_AGE_8, pb.Film_AGE_12, pb.Film_AGE_16}

// picker sorts candidates and picks the entries of a list.
type picker struct {
	board *board
	films []string
	snap  *shelf.Snapshot
	now   time.Time

	// adults and children look at the market's list; each child's row has a viewer for each
	// market that shares the list.
	adults   []*shelf.Viewer
	children [len(bands)][]*shelf.Viewer
	verdicts []uint8 // by film: see look

	candidates []candidate
	keys, swap []sortKey
}

func (p *picker) begin(b *board, s *state, snap *shelf.Snapshot) {
	p.board, p.films, p.snap, p.now = b, s.films, snap, time.UnixMicro(s.at).UTC()
}

// enter begins the lists of a market, which these markets look at.
func (p *picker) enter(markets []string) {
	if len(p.verdicts) < len(p.films) {
		p.verdicts = make([]uint8, len(p.films))
	}
	clear(p.verdicts)
	p.adults = p.adults[:0]
	for i := range p.children {
		p.children[i] = p.children[i][:0]
	}
	for _, m := range markets {
		p.adults = append(p.adults, shelf.NewViewer(&pb.Viewer{Market: m, Audience: pb.Viewer_ADULT}))
		for i, band := range bands {
			p.children[i] = append(p.children[i], shelf.NewViewer(&pb.Viewer{Market: m, Audience: pb.Viewer_KIDS, AgeBand: band}))
		}
	}
}

const (
	looked   = 1 << 7
	visible  = 1 << 6
	bandMask = 7 // 1 + the youngest band that may see the film; 0 = none
)

// look asks the gate about a film, once for all lists of a market.
func (p *picker) look(film uint32) uint8 {
	if v := p.verdicts[film]; v != 0 {
		return v
	}
	f, v := &p.board.facts[film], uint8(looked)
	if p.pass(p.adults, f.entry) {
		v |= visible
	}
	if v&visible != 0 && f.child && p.pass(p.children[len(bands)-1], f.entry) {
		youngest := len(bands) - 1
		for youngest > 0 && p.pass(p.children[youngest-1], f.entry) {
			youngest--
		}
		v |= uint8(youngest + 1)
	}
	p.verdicts[film] = v
	return v
}

func (p *picker) pass(viewers []*shelf.Viewer, e *shelf.Entry) bool {
	for _, v := range viewers {
		if verdict, _ := p.snap.Gate(v, e, p.now); verdict != shelf.Hidden {
			return true
		}
	}
	return false
}

// quota counts what a list still lacks. A film's mask and the quota's have a bit for each
// content type, each band of children, and each genre modulo genreBits; films that have no bit
// of what is lacking are passed over at the cost of one and.
type quota struct {
	genres   []int
	contents [8]int
	bands    [len(bands)]int
	mask     uint64
}

const (
	contentBit = 64 - 8
	bandBit    = contentBit - 5 // len(bands)
	genreBits  = bandBit
)

// mask gives a film's bits: of children's bands, those its age lets in.
func (f *fact) mask() (m uint64) {
	m = 1 << (contentBit + f.content&7)
	for i, band := range bands {
		if f.child && f.entry.AgeBand <= band {
			m |= 1 << (bandBit + i)
		}
	}
	for _, g := range f.genres {
		m |= 1 << (g % genreBits)
	}
	return m
}

func newQuota(genres int) *quota {
	q := &quota{genres: make([]int, genres), mask: math.MaxUint64}
	for i := range q.genres {
		q.genres[i] = fill
	}
	for i := range q.contents {
		q.contents[i] = fill
	}
	for i := range q.bands {
		q.bands[i] = fill
	}
	return q
}

// wants reports whether the list lacks films like this one; youngest is the youngest band that
// may see it, counted from 1, 0 for none.
func (q *quota) wants(f *fact, youngest int) bool {
	if q.contents[f.content&7] > 0 || youngest > 0 && slices.Max(q.bands[youngest-1:]) > 0 {
		return true
	}
	for _, g := range f.genres {
		if q.genres[g] > 0 {
			return true
		}
	}
	return false
}

// take counts a film that is in the list.
func (q *quota) take(f *fact, youngest int) {
	if q.contents[f.content&7]--; q.contents[f.content&7] == 0 {
		q.mask &^= 1 << (contentBit + f.content&7)
	}
	for _, g := range f.genres {
		if q.genres[g]--; q.genres[g] == 0 {
			q.dry(g)
		}
	}
	for i := max(youngest-1, 0); youngest > 0 && i < len(q.bands); i++ {
		if q.bands[i]--; q.bands[i] == 0 {
			q.mask &^= 1 << (bandBit + i)
		}
	}
}

// dry clears a genre's bit if no other genre of the bit lacks films.
func (q *quota) dry(g uint16) {
	for i := int(g % genreBits); i < len(q.genres); i += genreBits {
		if q.genres[i] > 0 {
			return
		}
	}
	q.mask &^= 1 << (g % genreBits)
}

// take sorts the candidates and gives the list's entries, and how many of them an unfiltered
// list may show. Scores are multiplied by scale.
func (p *picker) take(scale score) (entries []generations.Entry, shown int) {
	p.sort(scale)
	q, masks := newQuota(len(p.board.genres)), p.board.masks
	var rank int32
	hidden := 0
	for i := range p.keys {
		inHead := rank < head
		if !inHead && masks[p.keys[i].place]&q.mask == 0 {
			continue
		}
		film := p.candidates[p.keys[i].candidate].film
		f, v := &p.board.facts[film], p.look(film)
		youngest := int(v & bandMask)
		e := generations.Entry{Film: p.films[film]}
		switch {
		case v&visible == 0:
			if !inHead || hidden >= hiddenLimit {
				continue
			}
			hidden++
		case inHead:
			rank++
			e.Rank = rank
			q.take(f, youngest)
		case !q.wants(f, youngest):
			continue
		default:
			q.take(f, youngest)
		}
		e.Score = p.final(p.keys[i].candidate, scale)
		entries = append(entries, e)
		if inHead {
			shown = len(entries)
		}
		if len(entries) == generations.MaxEntries {
			break
		}
	}
	return entries, shown
}

// final is a candidate's score at the state's time. What no double holds with all its digits
// is 0, so that it does not seem to change when time passes.
func (p *picker) final(candidate uint32, scale score) float64 {
	x := p.scaled(candidate, scale).float()
	if x < 0x1p-1022 {
		return 0
	}
	return x
}

func (p *picker) scaled(candidate uint32, scale score) score {
	x := p.candidates[candidate].score
	return score{x.m * scale.m, x.e + scale.e}.normal()
}

// sortKey is a candidate as the sort sees it: greater keys first, then lower places by name.
type sortKey struct {
	key              uint64
	place, candidate uint32
}

const (
	mantissaBits = 44
	maxDown      = 1<<(64-mantissaBits) - 2
)

// sort brings the keys into the order of lists. Keys hold 44 bits of the mantissa under
// the exponent's distance from the highest one; where two are as close as ties may be, the
// scores themselves are asked.
func (p *picker) sort(scale score) {
	top := math.MinInt
	for i := range p.candidates {
		if x := &p.candidates[i].score; x.m != 0 && x.e > top {
			top = x.e
		}
	}
	p.keys = p.keys[:0]
	far := false
	for i := range p.candidates {
		c := &p.candidates[i]
		var key uint64
		if c.score.m != 0 {
			down := uint64(min(top-c.score.e, maxDown))
			far = far || down == maxDown
			mantissa := math.Float64bits(c.score.m) & (1<<52 - 1) >> (52 - mantissaBits)
			key = (maxDown+1-down)<<mantissaBits | mantissa
		}
		p.keys = append(p.keys, sortKey{key, p.board.place[c.film], uint32(i)})
	}
	if far { // a million half-lives: only the scores themselves can tell
		slices.SortFunc(p.keys, p.order(scale))
		return
	}
	p.radix()
	p.untie(scale)
}

// order is the order of lists.
func (p *picker) order(scale score) func(a, b sortKey) int {
	return func(a, b sortKey) int {
		if c := compare(p.scaled(b.candidate, scale), p.scaled(a.candidate, scale)); c != 0 {
			return c
		}
		return int(a.place) - int(b.place)
	}
}

// near is the distance of keys within which scores may be equal to 12 digits: surely, in units
// of the last of the mantissa's bits, twice over.
const near = 1 << 9

// untie puts runs of scores that are equal to 12 digits, or nearly, in their exact order.
func (p *picker) untie(scale score) {
	for from := 0; from < len(p.keys); {
		to, same := from+1, true
		first := p.candidates[p.keys[from].candidate].score
		for to < len(p.keys) && p.keys[to-1].key-p.keys[to].key <= near {
			same = same && p.candidates[p.keys[to].candidate].score == first
			to++
		}
		if !same { // all the same are in the order of names already
			slices.SortFunc(p.keys[from:to], p.order(scale))
		}
		from = to
	}
}

const radixBits = 11

// radix sorts the keys: by key, greatest first, then by place. Eleven bits at a time, least
// significant first; digits that all keys share cost nothing.
func (p *picker) radix() {
	if len(p.keys) < 256 {
		slices.SortFunc(p.keys, func(a, b sortKey) int {
			return cmp.Or(cmp.Compare(b.key, a.key), cmp.Compare(a.place, b.place))
		})
		return
	}
	if cap(p.swap) < len(p.keys) {
		p.swap = make([]sortKey, len(p.keys), cap(p.keys))
	}
	p.swap = p.swap[:len(p.keys)]
	places := bits.Len(uint(len(p.board.place)))
	for shift := 0; shift < places; shift += radixBits {
		p.radixPass(shift, 0)
	}
	for shift := 0; shift < 64; shift += radixBits {
		p.radixPass(shift, math.MaxUint64)
	}
}

// radixPass moves the keys into the order of one digit: of the place, or, where key is all
// ones, of the inverted key.
func (p *picker) radixPass(shift int, key uint64) {
	const digits = 1 << radixBits
	var counts [digits]uint32
	for i := range p.keys {
		k := &p.keys[i]
		counts[(^k.key&key|uint64(k.place)&^key)>>shift&(digits-1)]++
	}
	k := &p.keys[0]
	if int(counts[(^k.key&key|uint64(k.place)&^key)>>shift&(digits-1)]) == len(p.keys) {
		return
	}
	at := uint32(0)
	for i, n := range counts {
		counts[i] = at
		at += n
	}
	for i := range p.keys {
		k := &p.keys[i]
		d := (^k.key&key | uint64(k.place)&^key) >> shift & (digits - 1)
		p.swap[counts[d]] = *k
		counts[d]++
	}
	p.keys, p.swap = p.swap, p.keys
}
