package catalog

import (
	"slices"

	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
)

// permit refuses a change that reaches beyond the markets a caller is limited to. Such a
// caller may do anything with films whose windows, before and after, name none but these
// markets; of other films it may change what stands under these markets: windows, ratings,
// licences and take-downs. old is nil for a new film.
func permit(c *auth.Caller, old, f *pb.Film) error {
	if !c.Limited() || reach(old, c.Markets) && reach(f, c.Markets) || proto.Equal(others(old, c.Markets), others(f, c.Markets)) {
		return nil
	}
	return c.Beyond()
}

// reach reports whether all windows of a film lie within some markets.
func reach(f *pb.Film, markets []string) bool {
	for _, w := range f.GetAvailability() {
		if len(w.GetMarkets()) == 0 || !within(w.GetMarkets(), markets) {
			return false
		}
	}
	return true
}

// others is a film without what stands under some markets, for comparison.
func others(f *pb.Film, markets []string) *pb.Film {
	rest := &pb.Film{}
	if f != nil {
		rest = proto.CloneOf(f)
	}
	rest.Stats, rest.TakeDownReason = nil, ""
	rest.TakenDownMarkets = slices.DeleteFunc(rest.TakenDownMarkets, func(m string) bool { return slices.Contains(markets, m) })
	rest.Ratings = slices.DeleteFunc(rest.Ratings, func(r *pb.Rating) bool { return slices.Contains(markets, r.GetMarket()) })
	rest.Licenses = slices.DeleteFunc(rest.Licenses, func(l *pb.License) bool { return slices.Contains(markets, l.GetMarket()) })
	rest.Availability = slices.DeleteFunc(rest.Availability, func(w *pb.Availability) bool {
		everywhere := len(w.Markets) == 0
		w.Markets = slices.DeleteFunc(w.Markets, func(m string) bool { return slices.Contains(markets, m) })
		return !everywhere && len(w.Markets) == 0
	})
	return rest
}
