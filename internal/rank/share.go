package rank

import (
	"maps"
	"slices"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/generations"
)

// views is how many films adults see, and children of each band, counted up to generations.Fill.
type views [1 + len(bands)]int

// add counts a film that adults see, and children from the youngest band on (from 1; 0 = none).
func (v *views) add(adults bool, youngest int) {
	if adults {
		v[0]++
	}
	for i := youngest; i > 0 && i < len(v); i++ {
		v[i]++
	}
}

// below reports whether somebody sees fewer films than in another list, as far as it matters.
func (v *views) below(w *views) bool {
	for i := range v {
		if v[i] < min(generations.Fill, w[i]) {
			return true
		}
	}
	return false
}

// share looks whether the world's list, which was just made, suits all the markets it is for: a
// film that only some of them see may take a place there from one that another would see. Markets
// that are shown too little get a list of their own. Those that nobody named cannot: if it is
// them, the world's list is made for them alone.
func (b *board) share(c *pb.Chart, s *state, l *generations.List, win windows, old *generations.List) *generations.List {
	markets := b.sharing(s, generations.World)
	var best views // of any market
	for i, film := range b.pick.taken {
		v := b.pick.look(film)
		best.add(v&visible != 0 && i < l.Head, int(v&bandMask))
	}
	unnamed, others := markets[0], markets[1:]
	most := b.most(unnamed, best)
	if seen := b.sees(unnamed, l.Head, &most); seen.below(&most) {
		taken := slices.Clone(b.pick.taken)
		b.pick.enter(markets[:1])
		alone := b.list(c, s, s.markets[0], generations.World, win, old)
		if more := b.sees(unnamed, alone.Head, &most); seen.below(&more) {
			l = alone
		} else {
			b.pick.taken = taken
		}
		b.pick.enter(markets)
	}
	maps.DeleteFunc(b.short, func(k listKey, _ bool) bool { return k.chart == c.Name })
	for _, m := range others {
		most := b.most(m, best)
		seen := b.sees(m, l.Head, &most)
		b.short[listKey{c.Name, m}] = seen.below(&most)
	}
	return l
}

// sees counts what a market is shown of the last list, as far as most; adults without filters are
// shown the first entries.
func (b *board) sees(market string, shown int, most *views) (seen views) {
	a := newAudience([]string{market})
	for i, film := range b.pick.taken {
		if i%64 == 0 && !seen.below(most) {
			break
		}
		if i < shown || b.facts[film].child {
			v := b.pick.judge(a, film)
			seen.add(v&visible != 0 && i < shown, int(v&bandMask))
		}
	}
	return seen
}

// most bounds what a market could be shown: no more than any other is, nor than it has films.
func (b *board) most(market string, best views) views {
	has, known := b.offers[market]
	if !known {
		full := views{generations.Fill, generations.Fill, generations.Fill, generations.Fill, generations.Fill, generations.Fill}
		for i := range b.facts {
			if i%64 == 0 && !has.below(&full) {
				break
			}
			f := &b.facts[i]
			if !f.live {
				continue
			}
			if _, open := f.entry.FirstStart(market); open {
				youngest := 0
				if f.child {
					youngest = 1 + int(f.entry.AgeBand-bands[0])
				}
				has.add(true, youngest)
			}
		}
		b.offers[market] = has
	}
	for i := range has {
		has[i] = min(has[i], best[i])
	}
	return has
}
