package rank

import (
	"cmp"
	"math"
	"math/bits"
	"slices"

	"github.com/aitheater/theater/internal/generations"
)

// sortKey is a candidate as the sort sees it: greater keys first, then lower places by name.
type sortKey struct {
	key              uint64
	place, candidate uint32
}

const (
	mantissaBits = 44
	maxDown      = 1<<(64-mantissaBits) - 2
)

// gather makes the candidates' keys: 44 bits of the mantissa under the exponent's distance from
// the highest one.
func (p *picker) gather() {
	top := math.MinInt
	for i := range p.candidates {
		if x := &p.candidates[i].score; x.m != 0 && x.e > top {
			top = x.e
		}
	}
	p.keys, p.far = p.keys[:0], false
	for i := range p.candidates {
		c := &p.candidates[i]
		var key uint64
		if c.score.m != 0 {
			down := uint64(min(top-c.score.e, maxDown))
			p.far = p.far || down == maxDown
			mantissa := math.Float64bits(c.score.m) & (1<<52 - 1) >> (52 - mantissaBits)
			key = (maxDown+1-down)<<mantissaBits | mantissa
		}
		p.keys = append(p.keys, sortKey{key, p.board.place[c.film], uint32(i)})
	}
	if cap(p.swap) < len(p.keys) {
		p.swap = make([]sortKey, cap(p.keys))
	}
}

// cut brings the best keys to the front, at least as many as a list may hold, and gives their
// number: sorting all of a hundred thousand would cost most of the time there is.
func (p *picker) cut() int {
	const most = 2 * generations.MaxEntries
	if len(p.keys) <= most || p.far {
		return len(p.keys)
	}
	low, high := p.keys[0].key, p.keys[0].key
	for i := range p.keys {
		low, high = min(low, p.keys[i].key), max(high, p.keys[i].key)
	}
	const digits = 1 << radixBits
	shift := max(bits.Len64(high-low)-radixBits, 0)
	var counts [digits]int
	for i := range p.keys {
		counts[(p.keys[i].key-low)>>shift]++
	}
	digit, n := digits-1, counts[digits-1]
	for n < generations.MaxEntries {
		digit--
		n += counts[digit]
	}
	bound := low + uint64(digit)<<shift
	end, next := 0, uint64(0) // the greatest key below bound
	least := high
	for i := range p.keys {
		if k := p.keys[i].key; k >= bound {
			least = min(least, k)
			p.keys[end], p.keys[i] = p.keys[i], p.keys[end]
			end++
		} else {
			next = max(next, k)
		}
	}
	if end < len(p.keys) && least-next <= near {
		return len(p.keys) // these may be a tie
	}
	return end
}

// sorted brings some of the keys into the order of lists. Where two are as close as ties may be,
// the scores themselves are asked.
func (p *picker) sorted(from, to int, scale score) []sortKey {
	keys := p.keys[from:to]
	if p.far { // a million half-lives: only the scores themselves can tell
		slices.SortFunc(keys, p.order(scale))
		return keys
	}
	keys = radix(keys, p.swap[:cap(p.swap)][from:to], bits.Len(uint(len(p.board.place))))
	p.untie(keys, scale)
	return keys
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
func (p *picker) untie(keys []sortKey, scale score) {
	for from := 0; from < len(keys); {
		to, same := from+1, true
		first := p.candidates[keys[from].candidate].score
		for to < len(keys) && keys[to-1].key-keys[to].key <= near {
			same = same && p.candidates[keys[to].candidate].score == first
			to++
		}
		if !same { // all the same are in the order of names already
			slices.SortFunc(keys[from:to], p.order(scale))
		}
		from = to
	}
}

const radixBits = 11

// radix sorts keys: by key, greatest first, then by place, which has so many bits. Eleven bits at
// a time, least significant first; digits that all keys share cost nothing. It gives the sorted
// keys, which may be in swap.
func radix(keys, swap []sortKey, places int) []sortKey {
	if len(keys) < 256 {
		slices.SortFunc(keys, func(a, b sortKey) int {
			return cmp.Or(cmp.Compare(b.key, a.key), cmp.Compare(a.place, b.place))
		})
		return keys
	}
	for shift := 0; shift < places; shift += radixBits {
		keys, swap = radixPass(keys, swap, shift, 0)
	}
	for shift := 0; shift < 64; shift += radixBits {
		keys, swap = radixPass(keys, swap, shift, math.MaxUint64)
	}
	return keys
}

// radixPass moves the keys into the order of one digit: of the place, or, where key is all
// ones, of the inverted key. It gives the keys and what is free now.
func radixPass(keys, swap []sortKey, shift int, key uint64) (moved, free []sortKey) {
	const digits = 1 << radixBits
	var counts [digits]uint32
	for i := range keys {
		k := &keys[i]
		counts[(^k.key&key|uint64(k.place)&^key)>>shift&(digits-1)]++
	}
	k := &keys[0]
	if int(counts[(^k.key&key|uint64(k.place)&^key)>>shift&(digits-1)]) == len(keys) {
		return keys, swap
	}
	at := uint32(0)
	for i, n := range counts {
		counts[i] = at
		at += n
	}
	for i := range keys {
		k := &keys[i]
		d := (^k.key&key | uint64(k.place)&^key) >> shift & (digits - 1)
		swap[counts[d]] = *k
		counts[d]++
	}
	return swap, keys
}
