package auth

import (
	"fmt"
	"slices"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
)

// maxTag is how long a language tag may be, in bytes. The schema cannot say it: rules for the
// items of a list are interpreted, which made them the dearest part of a call.
const maxTag = 100

// Narrow applies the caller's claims to the viewer a request names: unset audience is KIDS,
// unset age band is ALL, a caller claimed as KIDS stays KIDS, a band above the claimed one
// is lowered to it. KIDS with AGE_18, and a market the caller may not view, are errors. The
// argument is not changed; the answer shares its languages. An ADULT's age band means nothing and is cleared, so that equal
// viewers are equal messages.
func Narrow(c *Caller, v *pb.Viewer) (*pb.Viewer, error) {
	if v.GetMarket() == "" {
		return nil, fault.Invalid("viewer.market", "is required")
	}
	if !c.MayMarket(v.GetMarket()) {
		return nil, fault.New(fault.PermissionDenied, pb.ErrorReason_PERMISSION_DENIED, "viewer.market: not among the markets of your credentials")
	}
	for i, tag := range v.GetLanguages() {
		if len(tag) > maxTag {
			return nil, fault.Invalid(fmt.Sprintf("viewer.languages[%d]", i), "must be at most %d bytes", maxTag)
		}
	}
	out := &pb.Viewer{Market: v.GetMarket(), Languages: v.GetLanguages(), Audience: pb.Viewer_KIDS}
	if v.GetAudience() == pb.Viewer_ADULT && c.Audience != pb.Viewer_KIDS {
		out.Audience = pb.Viewer_ADULT
		return out, nil
	}
	out.AgeBand = pb.Film_ALL
	if v.GetAgeBand() != pb.Film_AGE_BAND_UNSPECIFIED {
		out.AgeBand = v.GetAgeBand()
	}
	if out.AgeBand < pb.Film_ALL || out.AgeBand >= pb.Film_AGE_18 {
		return nil, fault.Invalid("viewer.age_band", "is no band of children")
	}
	if c.AgeBand != pb.Film_AGE_BAND_UNSPECIFIED {
		out.AgeBand = min(out.AgeBand, c.AgeBand)
	}
	return out, nil
}

// MayMarket reports whether the caller's credentials extend to a market.
func (c *Caller) MayMarket(market string) bool {
	return len(c.Markets) == 0 || slices.Contains(c.Markets, market)
}
