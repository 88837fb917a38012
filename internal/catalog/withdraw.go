package catalog

import (
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/aitheater/theater/api/theater/v1"
)

// hides reports whether a change may hide a film from someone who sees it. In doubt it does:
// a needless withdrawal costs a moment of absence, a missed one breaks the promise that a
// hidden film is gone within a second. Only plain widening is let through.
func hides(old, changed *pb.Film) bool {
	if old.GetState() != pb.Film_PUBLISHED || old.GetDeleteTime() != nil {
		return false // nobody sees it
	}
	return changed.GetState() != pb.Film_PUBLISHED || changed.GetDeleteTime() != nil ||
		!within(changed.GetTakenDownMarkets(), old.GetTakenDownMarkets()) ||
		narrower(old.GetAvailability(), changed.GetAvailability()) ||
		raised(old.GetAgeBand(), changed.GetAgeBand()) ||
		raised(old.GetMinorsReview().GetAgeBand(), changed.GetMinorsReview().GetAgeBand()) ||
		lost(old.GetLicenses(), changed.GetLicenses()) ||
		!proto.Equal(facts(old), facts(changed))
}

// facts are the fields of which any change counts: rules of markets may ask for all of them.
func facts(f *pb.Film) *pb.Film {
	p := f.GetProvenance()
	return &pb.Film{
		Ratings: f.GetRatings(), Genres: f.GetGenres(), Runtime: f.GetRuntime(), ContentType: f.GetContentType(),
		Provenance: &pb.Provenance{DigitalSourceType: p.GetDigitalSourceType(), AigcLabel: p.GetAigcLabel(), C2Pa: p.GetC2Pa()},
	}
}

// raised reports whether a band may shut out a child that the old one let in.
func raised(old, changed pb.Film_AgeBand) bool {
	return old != pb.Film_AGE_BAND_UNSPECIFIED && (changed == pb.Film_AGE_BAND_UNSPECIFIED || changed > old)
}

func lost(old, changed []*pb.License) bool {
	for _, l := range old {
		if !slices.ContainsFunc(changed, func(c *pb.License) bool { return proto.Equal(l, c) }) {
			return true
		}
	}
	return false
}

// narrower reports whether some moment in some market was covered by old windows and may
// not be covered by the changed ones: unless each old window lies within one changed window.
func narrower(old, changed []*pb.Availability) bool {
	for _, o := range old {
		if !slices.ContainsFunc(changed, func(c *pb.Availability) bool { return covers(c, o) }) {
			return true
		}
	}
	return false
}

func covers(w, old *pb.Availability) bool {
	if len(w.GetMarkets()) > 0 && (len(old.GetMarkets()) == 0 || !within(old.GetMarkets(), w.GetMarkets())) {
		return false
	}
	return !later(opens(w), opens(old)) && !later(w.GetStartTime(), old.GetStartTime()) && !ends(w.GetEndTime(), old.GetEndTime())
}

// opens is when a window first shows a film: announced, else started; nil = always.
func opens(w *pb.Availability) *timestamppb.Timestamp {
	if w.GetAnnounceTime() != nil {
		return w.GetAnnounceTime()
	}
	return w.GetStartTime()
}

// later compares beginnings: nil is before everything.
func later(a, b *timestamppb.Timestamp) bool {
	return a != nil && (b == nil || a.AsTime().After(b.AsTime()))
}

// ends compares ends: whether a ends before b, where nil never ends.
func ends(a, b *timestamppb.Timestamp) bool {
	return a != nil && (b == nil || a.AsTime().Before(b.AsTime()))
}

func within(part, whole []string) bool {
	for _, s := range part {
		if !slices.Contains(whole, s) {
			return false
		}
	}
	return true
}

// union is both lists without repeats, in order.
func union(a, b []string) []string {
	out := slices.Concat(a, b)
	slices.Sort(out)
	return slices.Compact(out)
}
