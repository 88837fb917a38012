package rank

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/generations"
	"github.com/aitheater/theater/internal/shelf"
)

// A list of very many films is what sorting all of them would give, though only a part is
// sorted; also where ties lie across the cut.
func TestListsOfManyFilmsAreSortedAsIfWhole(t *testing.T) {
	const films = 3 * generations.MaxEntries
	s, b := newState(needs{}), newBoard()
	b.genres = map[string]uint16{"a": 0, "b": 1, "c": 2, "rare": 3}
	verdicts := make([]uint8, films)
	for i := range films {
		s.film(fmt.Sprintf("films/f%d", i*7919%films))
		f := fact{entry: &shelf.Entry{AgeBand: pb.Film_AGE_3}, live: true, content: uint8(1 + i%5), genres: []uint16{uint16(i % 3)}}
		verdicts[i] = looked | visible
		switch {
		case i%400 == 0:
			f.genres = []uint16{3}
		case i%5 == 0:
			verdicts[i] = looked
		case i%700 == 1:
			f.child, verdicts[i] = true, looked|visible|2
		}
		b.facts = append(b.facts, f)
	}
	b.sortNames(s.films)
	b.masks = make([]uint64, films)
	for film, place := range b.place {
		b.masks[place] = b.facts[film].mask()
	}
	s.at = time.Now().UnixMicro()
	b.pick.begin(b, s, nil)
	b.pick.verdicts = verdicts // the gate was asked
	rng := rand.New(rand.NewPCG(1, 2))
	for name, score := range map[string]func(i int) score{
		"random":       func(int) score { return scoreOf(rng.Float64()) },
		"equal":        func(int) score { return scoreOf(0.7) },
		"zero":         func(int) score { return score{} },
		"few":          func(int) score { return scoreOf(float64(rng.IntN(7)) / 3) },
		"steps":        func(i int) score { return scoreOf(float64(i / 3)) },
		"a tie of all": func(int) score { return scoreOf(1 + float64(rng.IntN(100))*1e-14) },
		"chain":        func(i int) score { return scoreOf(1 + float64(i)*1e-12) },
		"magnitudes":   func(int) score { return score{0.5 + rng.Float64()/2, rng.IntN(5000)} },
		"too far":      func(i int) score { return score{0.5 + rng.Float64()/2, i % 3 * maxDown} },
		"tie at the cut": func(i int) score {
			if i >= generations.MaxEntries-100 && i < generations.MaxEntries+100 {
				return scoreOf(3 + float64(rng.IntN(3))*1e-13)
			}
			return scoreOf(4 - float64(i)/generations.MaxEntries)
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := &b.pick
			p.candidates = p.candidates[:0]
			for i := range films {
				p.candidates = append(p.candidates, candidate{uint32(i), score(i)})
			}
			scale := scoreOf(math.Pi)
			for _, p.room = range []int{0, 5000, generations.MaxEntries} {
				got, shown := p.take(scale)
				whole := &picked{picker: p, quota: newQuota(len(b.genres)), scale: scale}
				p.gather()
				slices.SortFunc(p.keys, p.order(scale))
				whole.walk(p.keys)
				require.Equal(t, whole.shown, shown)
				require.Equal(t, len(whole.entries), len(got))
				for i := range got {
					require.Equal(t, whole.entries[i], got[i], i)
				}
				assert.Greater(t, len(got), max(head, p.room-1))
				// Nobody is left out before room is used up: ranks go on without a gap.
				rank := int32(0)
				for _, e := range got {
					if e.Rank > 0 {
						rank++
						require.Equal(t, rank, e.Rank)
					}
				}
				assert.GreaterOrEqual(t, int(rank), max(head, p.room-hiddenLimit))
			}
		})
	}
}
