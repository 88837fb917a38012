package rank

import (
	"context"
	"slices"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/ledger"
)

// loss is a film's decayed sum in a market that must be computed anew.
type loss struct {
	market *market
	row    uint32
	sum    int
}

// repair computes lossy sums anew from the ledger. It reads backwards until every sum has all of
// its events, or those that are missing are too old to matter: what is replaced is of the same
// day, so that a sum is lossy only if its half-life is an eighth of a day or so, and then some ten
// days are enough, however long the ledger is.
func (l *leader) repair(ctx context.Context, s *state) error {
	if len(s.lossy) == 0 {
		return nil
	}
	r := &repair{state: s, sums: map[uint32][]*repaired{}, rated: map[slotKey]bool{}}
	r.begin()
	var films []string
	for at := range s.lossy {
		film := at.market.rows[at.row].film
		if r.sums[film] == nil {
			films = append(films, s.films[film])
		}
		r.sums[film] = append(r.sums[film], &repaired{loss: at, lacks: at.market.rows[at.row].votes(&s.needs.sums[at.sum].weights)})
	}
	if err := l.ledger.Back(ctx, ledger.DayOf(s.at), s.watermark, films, r.see, r.more); err != nil {
		return err
	}
	for _, sums := range r.sums {
		for _, x := range sums {
			x.market.touch(x.row)
			x.market.sums[int(x.row)*len(s.needs.sums)+x.sum] = x.score
		}
	}
	clear(s.lossy)
	return nil
}

// repair is a reading of the ledger for lossy sums.
type repair struct {
	state *state
	sums  map[uint32][]*repaired // by film
	rated map[slotKey]bool       // on later days
	// events and ratings are of the day that is being read.
	events, ratings *pile
}

// repaired is a lossy sum's new value, and how many of its events are still to come.
type repaired struct {
	loss
	score score
	lacks int64
}

func (r *repair) begin() {
	r.events, r.ratings = &pile{at: map[slotKey]int{}}, &pile{at: map[slotKey]int{}}
}

func (r *repair) see(e *ledger.Event) error {
	switch {
	case e.Kind <= 0 || int(e.Kind) >= nKinds:
	case e.Kind != pb.Event_RATE:
		r.events.put(e, longer(e))
	case e.Occur <= r.state.at:
		r.ratings.put(e, later(e))
	}
	return nil
}

// more ends a day.
func (r *repair) more(day int32) bool {
	for i := range r.events.events {
		if e := &r.events.events[i]; e.Occur <= r.state.at {
			r.add(e)
		}
	}
	for key, i := range r.ratings.at {
		if !r.rated[key] {
			r.rated[key] = true
			r.add(&r.ratings.events[i])
		}
	}
	r.begin()
	for _, sums := range r.sums {
		if slices.ContainsFunc(sums, func(x *repaired) bool { return !r.done(x, day) }) {
			return true
		}
	}
	return false
}

func (r *repair) add(e *ledger.Event) {
	for _, x := range r.sums[r.state.filmID[e.Film]] {
		spec := &r.state.needs.sums[x.sum]
		if w := spec.weights[e.Kind]; w > 0 && (x.market == r.state.markets[0] || x.market.name == e.Market) {
			x.score = x.score.plus(forward(e.Occur, spec.halfLife, w))
			x.lacks--
		}
	}
}

// done reports whether what a sum lacks, all of it before the day's beginning, changes no digit.
func (r *repair) done(x *repaired, day int32) bool {
	if x.lacks <= 0 || x.score.m == 0 {
		return x.lacks <= 0
	}
	spec := &r.state.needs.sums[x.sum]
	rest := forward(int64(day)*ledger.MicrosPerDay, spec.halfLife, float64(x.lacks)*slices.Max(spec.weights[:]))
	return rest.normal().e < x.score.normal().e-64
}
