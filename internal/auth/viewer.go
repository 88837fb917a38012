package auth

import (
	"fmt"
	"slices"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
)

// maxTags is how many languages a viewer may have, and maxTag how long a tag may be, in bytes.
// These rules stand here and not in the schema because rules for lists were the dearest
// part of validating a viewer, and every method with a viewer comes by here.
const maxTags, maxTag = 20, 100

// Narrow applies the caller's claims to the viewer a request names: unset audience is KIDS,
// unset age band is ALL, a caller claimed as KIDS stays KIDS, a band above the claimed one
// is lowered to it. KIDS with AGE_18, and a market the caller may not view, are errors. The
// argument is not changed, and is the answer where there is nothing to narrow. An ADULT's age
// band means nothing and is cleared, so that equal viewers are equal messages.
func Narrow(c *Caller, v *pb.Viewer) (*pb.Viewer, error) {
	if v.GetMarket() == "" {
		return nil, fault.Invalid("viewer.market", "is required")
	}
	if !c.MayMarket(v.GetMarket()) {
		return nil, fault.New(fault.PermissionDenied, pb.ErrorReason_PERMISSION_DENIED, "viewer.market: not among the markets of your credentials")
	}
	if len(v.GetLanguages()) > maxTags {
		return nil, fault.Invalid("viewer.languages", "must be at most %d", maxTags)
	}
	for i, tag := range v.GetLanguages() {
		if len(tag) > maxTag {
			return nil, fault.Invalid(fmt.Sprintf("viewer.languages[%d]", i), "must be at most %d bytes", maxTag)
		}
	}
	audience, band := pb.Viewer_ADULT, pb.Film_AGE_BAND_UNSPECIFIED
	if v.GetAudience() != pb.Viewer_ADULT || c.Audience == pb.Viewer_KIDS {
		audience, band = pb.Viewer_KIDS, pb.Film_ALL
		if v.GetAgeBand() != pb.Film_AGE_BAND_UNSPECIFIED {
			band = v.GetAgeBand()
		}
		if band < pb.Film_ALL || band >= pb.Film_AGE_18 {
			return nil, fault.Invalid("viewer.age_band", "is no band of children")
		}
		if c.AgeBand != pb.Film_AGE_BAND_UNSPECIFIED {
			band = min(band, c.AgeBand)
		}
	}
	if v.GetAudience() == audience && v.GetAgeBand() == band {
		return v, nil
	}
	return &pb.Viewer{Market: v.GetMarket(), Languages: v.GetLanguages(), Audience: audience, AgeBand: band}, nil
}

// MayMarket reports whether the caller's credentials extend to a market.
func (c *Caller) MayMarket(market string) bool {
	return len(c.Markets) == 0 || slices.Contains(c.Markets, market)
}
