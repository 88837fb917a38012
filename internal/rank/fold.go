package rank

import (
	"math"
	"slices"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/ledger"
)

// advance makes events up to a time count. Time never goes back.
func (s *state) advance(at int64) {
	if at <= s.at {
		return
	}
	s.at = at
	var due []ledger.Event
	s.waiting = slices.DeleteFunc(s.waiting, func(e ledger.Event) bool {
		if e.Occur <= at {
			due = append(due, e)
		}
		return e.Occur <= at
	})
	for i := range due { // in the order of the log, which is how they came
		s.count(&due[i])
	}
}

// fold takes the next piece of the log; prepare came before.
func (s *state) fold(b *ledger.Batch) {
	for i := range b.Events {
		s.see(&b.Events[i])
	}
	s.watermark = b.Through
}

// see decides whether an event counts, and instead of which.
func (s *state) see(e *ledger.Event) {
	if e.Kind <= 0 || int(e.Kind) >= nKinds {
		return // of a later version
	}
	if e.Kind == pb.Event_RATE {
		s.count(e)
		return
	}
	counts, instead := s.seeOn(s.days[e.Day], e)
	if counts {
		s.count(e)
	}
	if instead != nil {
		s.uncount(e, instead) // after, so that the sum shrinks as little as can be
	}
}

// uncount takes a play back in favour of e.
func (s *state) uncount(e *ledger.Event, p *play) {
	old := *e
	old.Value, old.Occur = p.seconds, p.occur(e.Day)
	if old.Occur <= s.at {
		s.apply(&old, -1)
		return
	}
	s.waiting = slices.DeleteFunc(s.waiting, func(w ledger.Event) bool {
		return w.Kind == old.Kind && w.Occur == old.Occur && w.Value == old.Value && w.Viewer == old.Viewer && w.Film == old.Film && w.Market == old.Market
	})
}

// count lets an event count, now or when its time comes.
func (s *state) count(e *ledger.Event) {
	switch {
	case e.Occur > s.at:
		s.waiting = append(s.waiting, *e)
	case e.Kind == pb.Event_RATE:
		s.rate(e)
	default:
		s.apply(e, +1)
	}
}

// rate makes a rating the viewer's latest, unless a later one is known.
func (s *state) rate(e *ledger.Event) {
	m := s.markets[s.market(e.Market)]
	row := s.rowOf(m, s.film(e.Film))
	key := keyOf(&e.Viewer, row, 0)
	old, rated := m.ratings[key]
	if rated && e.Occur <= old.occur {
		return
	}
	m.ratings[key] = rating{e.Value, e.Occur, row}
	m.dirtyMarks[key] = struct{}{}
	s.apply(e, +1)
	if rated {
		was := *e
		was.Value, was.Occur = old.value, old.occur
		s.apply(&was, -1)
	}
}

// apply adds an event to the film's numbers in its market and in the world, or takes it away.
func (s *state) apply(e *ledger.Event, sign int) {
	film := s.film(e.Film)
	for _, m := range [2]*market{s.markets[s.market(e.Market)], s.markets[0]} {
		s.applyIn(m, s.rowOf(m, film), e, sign)
	}
	if e.Kind == pb.Event_LIKE || e.Kind == pb.Event_UNLIKE {
		s.like(e, film)
	}
	s.countFilm(e, film, sign)
}

func (s *state) applyIn(m *market, row uint32, e *ledger.Event, sign int) {
	c := m.touch(row)
	m.events += int64(sign)
	c.counts[e.Kind] += uint32(sign)
	for i, spec := range s.needs.sums {
		if w := spec.weights[e.Kind]; w > 0 {
			sum := &m.sums[int(row)*len(s.needs.sums)+i]
			*sum = sum.plus(forward(e.Occur, spec.halfLife, w*float64(sign)))
			switch {
			case sign > 0:
			case c.votes(&spec.weights) == 0:
				*sum = score{}
			case sum.m < lossBound:
				s.lossy[loss{m, row, i}] = struct{}{}
			}
		}
	}
	switch e.Kind {
	case pb.Event_PLAY:
		if e.Day >= s.oldestBucket() {
			c.bucket(e.Day).add(sign, e.Value)
		}
	case pb.Event_RATE:
		m.n += int64(sign)
		m.sum += float64(sign) * e.Value
		c.ratingSum += float64(sign) * e.Value
		for i, t := range s.needs.thresholds {
			if e.Value >= t {
				m.positives[int(row)*len(s.needs.thresholds)+i] += uint32(sign)
			}
		}
	}
}

// lossBound is below which part of the largest it was a sum must not shrink by differences, one
// or many: each of them leaves an error of 2^-54 of what the sum was then, and scores are compared
// to 12 digits. It takes a half-life of two hours or so and plays that are replaced by ones of many
// hours before; see repair.
const lossBound = 1.0 / (1 << 10)

// forward is w·2^(occur/halfLife): forward decay with the landmark 1970 (Cormode,
// Shkapenyuk, Srivastava, Xu: "Forward Decay", ICDE 2009). Whole half-lives are the exponent,
// an integer, so that neither twenty years nor a million events cost digits.
func forward(occur, halfLife int64, w float64) score {
	whole, rest := floorDiv(occur, halfLife)
	return score{w * math.Exp2(float64(rest)/float64(halfLife)), int(whole)}.normal()
}

// votes is how many counted events weigh something.
func (c *cell) votes(weights *[nKinds]float64) (n int64) {
	for k, w := range weights {
		if w > 0 {
			n += int64(c.counts[k])
		}
	}
	return n
}

// floorDiv is a/b rounded down and what is left, b > 0.
func floorDiv(a, b int64) (whole, rest int64) {
	whole, rest = a/b, a%b
	if rest < 0 {
		whole, rest = whole-1, rest+b
	}
	return whole, rest
}

// at gives a sum's value at a time.
func (s score) at(t, halfLife int64) score {
	whole, rest := floorDiv(t, halfLife)
	return score{s.m * math.Exp2(-float64(rest)/float64(halfLife)), s.e - int(whole)}.normal()
}

// oldestBucket is the first day the longest window may still reach into.
func (s *state) oldestBucket() int32 {
	if s.needs.window == 0 {
		return math.MaxInt32
	}
	return ledger.DayOf(s.at - s.needs.window)
}

// bucket gives a day's bucket.
func (c *cell) bucket(day int32) *bucket {
	i := len(c.days)
	for i > 0 && c.days[i-1].day > day {
		i--
	}
	if i > 0 && c.days[i-1].day == day {
		return &c.days[i-1]
	}
	c.days = slices.Insert(c.days, i, bucket{day: day})
	return &c.days[i]
}

func (b *bucket) add(sign int, seconds float64) {
	b.plays += int32(sign)
	b.seconds += float64(sign) * seconds
	if b.plays == 0 {
		b.seconds = 0
	}
}
