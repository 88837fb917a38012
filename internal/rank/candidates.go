package rank

import (
	"context"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/generations"
	"github.com/aitheater/theater/internal/ledger"
)

// candidate is a film with a score, up to the factor all scores of the list share.
type candidate struct {
	film  uint32
	score score
}

// candidates gathers a chart's films in a market with their scores, and gives the factor that
// makes them the scores at the state's time.
func (b *board) candidates(c *pb.Chart, s *state, m *market, name string, win windows) (scale score) {
	switch c.Kind {
	case pb.Chart_HOT, pb.Chart_RISING:
		return b.decayed(c, s, m)
	case pb.Chart_TOP_RATED, pb.Chart_WILSON:
		b.rated(c, s, m)
	case pb.Chart_MOST_WATCHED:
		b.watched(c, m, win[micros(c.Window)])
	case pb.Chart_NEW:
		if name == generations.World {
			name = b.unnamed(s)
		}
		for film := range b.facts {
			f := &b.facts[film]
			if f.live && f.fits(c) {
				if since, known := newSince(f.entry, name, s.at); known {
					b.add(c, uint32(film), f, scoreOf(since))
				}
			}
		}
	}
	return scoreOf(1)
}

// fits reports whether min_form lets a film in.
func (f *fact) fits(c *pb.Chart) bool { return formFits(c, f.form) }

func (b *board) add(c *pb.Chart, film uint32, f *fact, x score) {
	if c.NormalizeByRuntime {
		if f.runtime <= 0 {
			return
		}
		x = x.times(3600 / f.runtime)
	}
	b.pick.candidates = append(b.pick.candidates, candidate{film, x})
}

func (b *board) decayed(c *pb.Chart, s *state, m *market) (scale score) {
	n, short, long := len(s.needs.sums), s.needs.sum(c, micros(c.HalfLife)), -1
	scale = score{1, 0}.at(s.at, micros(c.HalfLife))
	if c.Kind == pb.Chart_RISING {
		long = s.needs.sum(c, micros(c.LongHalfLife))
		scale = scale.over(score{1, 0}.at(s.at, micros(c.LongHalfLife)))
	}
	weights := weightsOf(c)
	for row := range m.rows {
		cell := &m.rows[row]
		f := &b.facts[cell.film]
		if !f.live || !f.fits(c) {
			continue
		}
		votes := cell.votes(&weights)
		if votes == 0 || votes < int64(c.MinVotes) {
			continue
		}
		x := m.sums[row*n+short].normal()
		if long >= 0 {
			x = x.over(m.sums[row*n+long])
		}
		b.add(c, cell.film, f, x)
	}
	return scale
}

func (b *board) rated(c *pb.Chart, s *state, m *market) {
	var mean float64
	if m.n > 0 {
		mean = m.sum / float64(m.n)
	}
	n, threshold := len(s.needs.thresholds), 0
	for i, t := range s.needs.thresholds {
		if t == c.PositiveThreshold {
			threshold = i
		}
	}
	for row := range m.rows {
		cell := &m.rows[row]
		f, votes := &b.facts[cell.film], cell.counts[pb.Event_RATE]
		if votes == 0 || int64(votes) < int64(c.MinVotes) || !f.live || !f.fits(c) {
			continue
		}
		if c.Kind == pb.Chart_TOP_RATED {
			b.add(c, cell.film, f, scoreOf(bayes(cell.ratingSum, float64(votes), c.PriorWeight, mean)))
		} else {
			b.add(c, cell.film, f, scoreOf(wilson(float64(m.positives[row*n+threshold]), float64(votes), c.Z)))
		}
	}
}

// windows are the plays of the day a window begins in, by window in microseconds: the only
// day of which a part counts.
type windows map[int64]*firstDay

// firstDay is the part of a window's first day that lies in the window, by market and row.
type firstDay struct {
	day     int32
	markets map[*market]map[uint32]bucket
}

// windows reads the days in which the windows of charts begin; the keys of the day are the
// plays that count.
func (l *leader) windows(ctx context.Context, charts []*pb.Chart) (windows, error) {
	win := windows{}
	for _, c := range charts {
		if c.Kind != pb.Chart_MOST_WATCHED || win[micros(c.Window)] != nil {
			continue
		}
		s := l.state
		edge := s.at - micros(c.Window)
		w := &firstDay{day: ledger.DayOf(edge), markets: map[*market]map[uint32]bucket{}}
		d, err := l.day(ctx, s, w.day)
		if err != nil {
			return nil, err
		}
		world := map[uint32]bucket{}
		w.markets[s.markets[0]] = world
		for id, keys := range d.markets {
			m, own := s.markets[id], map[uint32]bucket{}
			w.markets[m] = own
			for _, p := range keys.plays {
				if occur := p.occur(w.day); occur > edge && occur <= s.at {
					row := p.row()
					b := own[row]
					b.add(1, p.seconds)
					own[row] = b
					film := s.rowOf(s.markets[0], m.rows[row].film)
					b = world[film]
					b.add(1, p.seconds)
					world[film] = b
				}
			}
		}
		win[micros(c.Window)] = w
	}
	return win, nil
}

func (b *board) watched(c *pb.Chart, m *market, first *firstDay) {
	part := first.markets[m]
	for row := range m.rows {
		cell := &m.rows[row]
		f := &b.facts[cell.film]
		if !f.live || f.runtime <= 0 || !f.fits(c) {
			continue
		}
		sum := part[uint32(row)]
		for i := len(cell.days) - 1; i >= 0 && cell.days[i].day > first.day; i-- {
			sum.plays += cell.days[i].plays
			sum.seconds += cell.days[i].seconds
		}
		if sum.plays > 0 && sum.plays >= c.MinVotes {
			b.add(c, cell.film, f, scoreOf(sum.seconds/f.runtime))
		}
	}
}

// formFits reports whether min_form lets a form in.
func formFits(c *pb.Chart, form pb.Film_Form) bool {
	switch c.MinForm {
	case pb.Film_FEATURE:
		return form == pb.Film_FEATURE
	case pb.Film_SHORT:
		return form != pb.Film_FORM_UNSPECIFIED
	}
	return true
}
