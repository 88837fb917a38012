package rank

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/generations"
	"github.com/aitheater/theater/internal/shelf"
)

// Markets without events of their own share the world's list, and have full shelves all the
// same: where films that only others see fill that list, they get one of their own.
func TestMarketsWithoutEventsHaveFullShelves(t *testing.T) {
	now := time.Now()
	group := func(n int, name string, markets []string, edit ...func(*pb.Film)) (films []*pb.Film) {
		for i := range n {
			films = append(films, film(fmt.Sprint(name, i), append(edit, func(f *pb.Film) { f.Availability = []*pb.Availability{{Markets: markets}} })...))
		}
		return films
	}
	forChildren := func(f *pb.Film) { f.AgeBand, f.MinorsReview = pb.Film_AGE_3, &pb.MinorsReview{AgeBand: pb.Film_AGE_3} }
	for name, c := range map[string]struct {
		groups [][]*pb.Film // most popular first
		own    []string
	}{
		"all films everywhere":     {[][]*pb.Film{group(3000, "a", nil)}, nil},
		"the same markets for all": {[][]*pb.Film{group(3000, "a", []string{"JP", "KR", "US"})}, nil},
		"a market alone":           {[][]*pb.Film{group(2500, "a", []string{"JP"}), group(300, "b", []string{"KR"}), group(1, "c", nil)}, []string{"KR"}},
		"those nobody named":       {[][]*pb.Film{group(2500, "a", []string{"JP"}), group(300, "b", nil)}, nil},
		"a market's children": {[][]*pb.Film{group(2500, "a", []string{"JP", "KR"}), group(300, "b", []string{"JP"}, forChildren), group(300, "c", []string{"KR"}, forChildren)},
			[]string{"KR"}},
		"a market of few": {[][]*pb.Film{group(2500, "a", []string{"JP"}), group(50, "b", []string{"KR"})}, []string{"KR"}},
	} {
		t.Run(name, func(t *testing.T) {
			var films []*pb.Film
			for _, g := range c.groups {
				films = append(films, g...)
			}
			sh := shelf.New()
			shelve(t, sh, films, nil)
			charts := builtIn()[:1]
			require.Equal(t, pb.Chart_HOT, charts[0].Kind)
			s := newState(needsOf(charts))
			s.at = now.UnixMicro()
			for i, f := range films { // all events are of the US
				e := event(f.Name[len("films/"):], "v", "US", pb.Event_PLAY, 60, now.Add(-time.Duration(i)*time.Minute))
				s.apply(&e, +1)
			}
			b := newBoard()
			b.inAll = 0 // as in a house of many markets
			none := func(string, string) *generations.List { return nil }
			lists := map[string]*generations.List{}
			for _, l := range b.lists(charts, s, sh.Current(), windows{}, none, true) {
				lists[l.Market] = l
			}
			for _, l := range b.lists(charts, s, sh.Current(), windows{}, none, false) {
				require.Same(t, lists[l.Market], l, "nothing is made again")
			}
			for _, market := range []string{"JP", "KR", "ZZ"} {
				l, own := lists[market], true
				if l == nil {
					l, own = lists[generations.World], false
				}
				assert.Equal(t, own, len(c.own) > 0 && c.own[0] == market, "a list of its own: %s", market)
				for _, v := range []*shelf.Viewer{
					shelf.NewViewer(&pb.Viewer{Market: market, Audience: pb.Viewer_ADULT}),
					shelf.NewViewer(&pb.Viewer{Market: market, Audience: pb.Viewer_KIDS, AgeBand: pb.Film_AGE_8}),
				} {
					passes := func(name string) bool {
						e := sh.Current().Film(name)
						verdict, _ := sh.Current().Gate(v, e, now)
						return verdict != shelf.Hidden
					}
					offered, shown := 0, 0
					for _, f := range films {
						if passes(f.Name) {
							offered++
						}
					}
					for i, e := range l.Entries {
						if (i < l.Head || v.Audience != pb.Viewer_ADULT) && passes(e.Film) {
							shown++
						}
					}
					assert.GreaterOrEqual(t, shown, min(offered, generations.Fill), "%s, %s", market, v.Audience)
				}
			}
		})
	}
}
