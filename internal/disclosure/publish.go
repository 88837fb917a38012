package disclosure

import (
	"slices"
	"time"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
)

// The licence kinds of CN.
const (
	OnlineFilm       = "online-film"
	MicroDramaFiling = "micro-drama-filing"
)

// featureFloor is the running time, in seconds, from which a film is a feature.
const featureFloor = 15 * 60

func short(f *pb.Film) bool {
	return f.GetRuntime() != nil && f.GetRuntime().GetSeconds() < featureFloor
}

func licensed(f *pb.Film, market, kind string) bool {
	return slices.ContainsFunc(f.GetLicenses(), func(l *pb.License) bool {
		return l.GetMarket() == market && l.GetKind() == kind && l.GetNumber() != ""
	})
}

// forChildren reports whether the film is made for children, by its genres or its band.
func forChildren(f *pb.Film, genre bool) bool {
	band := f.GetAgeBand()
	return genre || band >= pb.Film_ALL && band < pb.Film_AGE_12
}

// Publish gives the unmet publish rules of each market the film's availability names, as of
// a time: rule, market, and what would satisfy it. children says whether a genre of the film
// is made for children.
func Publish(f *pb.Film, children bool, at time.Time) []fault.Violation {
	names := func(a *pb.Availability) bool { return slices.Contains(a.GetMarkets(), "CN") }
	if !slices.ContainsFunc(f.GetAvailability(), names) {
		return nil
	}
	var unmet []fault.Violation
	need := func(rule *Rule, ok bool, remedy string) {
		if !ok && rule.inForce(at.UnixMicro()) {
			unmet = append(unmet, fault.Violation{Rule: rule.ID, Subject: rule.Market, Description: remedy})
		}
	}
	if short(f) {
		need(&cnLicenseShort, licensed(f, "CN", MicroDramaFiling), `add a licence with market "CN", kind "micro-drama-filing" and its number: the film is under 15 minutes`)
	} else {
		need(&cnLicenseFeature, licensed(f, "CN", OnlineFilm), `add a licence with market "CN", kind "online-film" and its number: the film is of 15 minutes and more`)
	}
	if forChildren(f, children) {
		review := f.GetMinorsReview()
		need(&cnMinorsReview, review.GetReviewer() != "" && review.GetAgeBand() != pb.Film_AGE_BAND_UNSPECIFIED,
			"set minors_review with its reviewer and age_band: the film is made for children, by a genre or its age band")
		need(&cnMinorsAge, f.GetAgeBand() != pb.Film_AGE_BAND_UNSPECIFIED, "set age_band: a genre says that the film is made for children")
	}
	need(&cnLabelKnown, Known(f.GetProvenance().GetDigitalSourceType()), "set provenance.digital_source_type to a term of "+SourceTypeBase)
	return unmet
}

// Ban closes a market to a film from one time to another, in microseconds since 1970, by a
// showing rule that the film does not meet.
type Ban struct {
	Market   string
	From, To int64
	Rule     string
	Remedy   string
}

// Bans gives the markets whose showing rules the film fails, and when; nil for most films
// with a licence. The gate asks once per film change.
func Bans(f *pb.Film) []Ban {
	rule, kind := &cnShowFeature, OnlineFilm
	if short(f) {
		rule, kind = &cnShowShort, MicroDramaFiling
	}
	if licensed(f, "CN", kind) {
		return nil
	}
	return []Ban{{Market: rule.Market, From: rule.from(), To: rule.to(), Rule: rule.ID, Remedy: "add a licence with market \"CN\", kind \"" + kind + "\" and its number"}}
}

// Showable reports whether the film meets a market's showing rules at a time.
func Showable(f *pb.Film, market string, at time.Time) bool {
	now := at.UnixMicro()
	return !slices.ContainsFunc(Bans(f), func(b Ban) bool { return b.Market == market && b.From <= now && now < b.To })
}
