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
	all := make([]*pb.Film, films)
	for i := range all {
		all[i] = film(fmt.Sprintf("f%d", i*7919%films), func(f *pb.Film) {
			f.Genres, f.ContentType = []string{fmt.Sprintf("g%d", i%3)}, pb.Film_ContentType(1+i%5)
			switch {
			case i%400 == 0:
				f.Genres = []string{"rare"}
			case i%5 == 0:
				f.State = pb.Film_DRAFT // seen by nobody
			case i%700 == 1:
				f.AgeBand, f.MinorsReview = pb.Film_AGE_3, &pb.MinorsReview{AgeBand: pb.Film_AGE_3}
			}
		})
	}
	sh := shelf.New()
	shelve(t, sh, all, nil)
	s, b := newState(needs{}), newBoard()
	s.at = time.Now().UnixMicro()
	b.learn(s, sh.Current())
	b.pick.begin(b, s, sh.Current())
	b.pick.enter([]string{"US"})
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
			assert.Greater(t, len(got), head)
		})
	}
}
