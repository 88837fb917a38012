package disclosure

import (
	"cmp"
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/aitheater/theater/api/theater/v1"
)

// Version names this set of rules.
const Version = "2026-11-23"

// Rule is one rule of a market.
type Rule struct {
	ID          string
	Kind        pb.Rule_Kind
	Market      string // empty = everywhere
	Description string
	LegalBasis  string
	Effective   time.Time // zero = always
	Expire      time.Time // zero = open
}

const (
	always = int64(math.MinInt64)
	never  = int64(math.MaxInt64)
)

func (r *Rule) from() int64 {
	if r.Effective.IsZero() {
		return always
	}
	return r.Effective.UnixMicro()
}

func (r *Rule) to() int64 {
	if r.Expire.IsZero() {
		return never
	}
	return r.Expire.UnixMicro()
}

// inForce reports whether the rule applies at a time in microseconds.
func (r *Rule) inForce(at int64) bool { return r.from() <= at && at < r.to() }

func day(year int, month time.Month, d int) time.Time {
	return time.Date(year, month, d, 0, 0, 0, 0, time.UTC)
}

// The publish rules for every market are checked by the catalogue; they stand here to be
// listed with the others.
var basicRules = []Rule{
	{ID: "film-title", Description: "a title in the default language"},
	{ID: "film-runtime", Description: "a runtime"},
	{ID: "film-content-type", Description: "a content type"},
	{ID: "film-digital-source-type", Description: "a digital source type of the IPTC vocabulary"},
}

const (
	cnOnline   = "Administrative Regulations on Internet Audiovisual Programme Services; NRTA online audiovisual licence since 2022-06-01"
	cnDrama    = "NRTA notice on micro-dramas; unfiled AI-animated micro-dramas are taken offline since 2026-04-01"
	cnMinors   = "Regulations on the Protection of Minors in Cyberspace, in force 2024-01-01; minors' mode age bands"
	cnLabeling = "Measures for Labeling AI-Generated Synthetic Content, Art. 4, 6, 10, in force 2025-09-01; GB 45438-2025"
)

var (
	cnLicenseFeature = Rule{
		ID: "cn-license-feature", Kind: pb.Rule_PUBLISH, Market: "CN", LegalBasis: cnOnline, Effective: day(2022, 6, 1),
		Description: `a licence of kind "online-film" for films of 15 minutes and more`,
	}
	cnLicenseShort = Rule{
		ID: "cn-license-short", Kind: pb.Rule_PUBLISH, Market: "CN", LegalBasis: cnDrama, Effective: day(2024, 6, 1),
		Description: `a licence of kind "micro-drama-filing" for films under 15 minutes`,
	}
	cnMinorsReview = Rule{
		ID: "cn-minors-review", Kind: pb.Rule_PUBLISH, Market: "CN", LegalBasis: cnMinors, Effective: day(2024, 1, 1),
		Description: "a named reviewer for minors, with the age band cleared, if a genre or the age band says that the film is made for children",
	}
	cnMinorsAge = Rule{
		ID: "cn-minors-age-hint", Kind: pb.Rule_PUBLISH, Market: "CN", LegalBasis: cnMinors, Effective: day(2024, 1, 1),
		Description: "an age band, if a genre says that the film is made for children",
	}
	cnLabelKnown = Rule{
		ID: "cn-label-known", Kind: pb.Rule_PUBLISH, Market: "CN", LegalBasis: cnLabeling, Effective: day(2025, 9, 1),
		Description: "a known digital source type, so that the label to be shown is known",
	}
	cnShowFeature = Rule{
		ID: "cn-show-license-feature", Kind: pb.Rule_SHOW, Market: "CN", LegalBasis: cnOnline, Effective: day(2022, 6, 1),
		Description: `films of 15 minutes and more are shown with a licence of kind "online-film" only, also when availability names no market`,
	}
	cnShowShort = Rule{
		ID: "cn-show-filing-short", Kind: pb.Rule_SHOW, Market: "CN", LegalBasis: cnDrama, Effective: day(2026, 4, 1),
		Description: `films under 15 minutes are shown with a licence of kind "micro-drama-filing" only, also when availability names no market`,
	}
)

// Rules gives the rules of a market and the general ones, by market and id; of all markets
// if it is empty. The messages are the caller's.
func Rules(market string) []*pb.Rule {
	all := slices.Clone(basicRules)
	for i := range all {
		all[i].Kind, all[i].LegalBasis = pb.Rule_PUBLISH, "rule of the house"
	}
	all = append(all, cnLicenseFeature, cnLicenseShort, cnMinorsReview, cnMinorsAge, cnLabelKnown, cnShowFeature, cnShowShort)
	for i := range notices {
		r := notices[i].Rule
		for _, m := range notices[i].markets {
			r.Market = m
			all = append(all, r)
		}
	}
	var out []*pb.Rule
	for _, r := range all {
		if market != "" && r.Market != "" && r.Market != market {
			continue
		}
		m := &pb.Rule{Id: r.ID, Kind: r.Kind, Market: r.Market, Description: r.Description, LegalBasis: r.LegalBasis}
		m.EffectiveTime, m.ExpireTime = stamp(r.Effective), stamp(r.Expire)
		out = append(out, m)
	}
	slices.SortStableFunc(out, func(a, b *pb.Rule) int {
		return cmp.Or(cmp.Compare(a.GetMarket(), b.GetMarket()), cmp.Compare(a.GetId(), b.GetId()))
	})
	return out
}

func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
