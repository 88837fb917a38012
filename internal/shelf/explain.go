package shelf

import (
	"fmt"
	"slices"
	"strings"
	"time"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/disclosure"
)

// Explain gives every rule of the gate for a viewer and a film, in the order asked, with the
// fact it looked at and what would change it. The gate shows the film if and only if all of
// them passed.
func (s *Snapshot) Explain(v *Viewer, e *Entry, now time.Time) []*pb.GateCheck {
	x := explanation{s: s, v: v, e: e, f: e.Film(), m: countryOf(v.Market), at: now.UnixMicro()}
	x.check("state", e.State.String(), e.State == pb.Film_PUBLISHED, stateRemedy(e.State))
	x.check("deletion", given(e.Deleted, "deleted", "not deleted"), !e.Deleted, "UndeleteFilm, then PublishFilm")
	closed := e.cell.closed.Load()
	x.check("withdrawal", fmt.Sprintf("revision %d, withdrawn up to %d", e.Revision, closed), s.shelf.withdrawn.Load() <= s.applied || e.Revision >= closed,
		"a newer change is on its way to this replica; wait for it")
	source := x.f.GetProvenance().GetDigitalSourceType()
	x.check("disclosure", quoted(source), e.disclosed, "set provenance.digital_source_type to a term of "+disclosure.SourceTypeBase)
	x.check("market", quoted(v.Market), x.m != 0, "ask for an ISO 3166-1 alpha-2 market")
	x.check("take_down", "taken down in "+listed(x.f.GetTakenDownMarkets()), !e.takenDownIn(x.m), "ReinstateFilm")
	x.showing()
	x.availability()
	x.ages()
	return x.checks
}

type explanation struct {
	s      *Snapshot
	v      *Viewer
	e      *Entry
	f      *pb.Film
	m      country
	at     int64
	checks []*pb.GateCheck
}

func (x *explanation) check(rule, fact string, passed bool, remedy string) {
	c := &pb.GateCheck{Rule: rule, Fact: fact, Passed: passed}
	if !passed {
		c.Remedy = remedy
	}
	x.checks = append(x.checks, c)
}

// showing are the showing rules of the viewer's market.
func (x *explanation) showing() {
	bans := disclosure.Bans(x.f)
	for _, r := range disclosure.Rules(x.v.Market) {
		if r.GetKind() != pb.Rule_SHOW || r.GetMarket() != x.v.Market {
			continue
		}
		i := slices.IndexFunc(bans, func(b disclosure.Ban) bool {
			return b.Rule == r.GetId() && b.Market == x.v.Market && b.From <= x.at && x.at < b.To
		})
		var remedy string
		if i >= 0 {
			remedy = bans[i].Remedy
		}
		var licenses []string
		for _, l := range x.f.GetLicenses() {
			if l.GetMarket() == x.v.Market {
				licenses = append(licenses, l.GetKind())
			}
		}
		x.check(r.GetId(), fmt.Sprintf("runtime %gs, licences for %s: %s", x.e.Runtime, x.v.Market, listed(licenses)), i < 0, remedy)
	}
}

// availability is the window rule: open, or announced.
func (x *explanation) availability() {
	var facts []string
	passed, next := false, int64(never)
	for w := range x.e.windows {
		if *w == none || !w.markets.has(x.m) || x.m == 0 {
			continue
		}
		facts = append(facts, fmt.Sprintf("[%s, %s)", timeText(w.start), timeText(w.end)))
		switch {
		case w.end <= x.at || w.start >= w.end:
		case w.start <= x.at, w.announce <= x.at:
			passed = true
		default:
			next = min(next, w.start, w.announce)
		}
	}
	remedy := fmt.Sprintf("add an availability for %s that is open now", x.v.Market)
	if next != never {
		remedy = "wait until " + timeText(next) + ", or " + remedy
	}
	x.check("window", "windows for "+x.v.Market+": "+listed(facts), passed, remedy)
}

// ages are the rules for children; adults pass them all.
func (x *explanation) ages() {
	if x.v.Audience == pb.Viewer_ADULT {
		for _, rule := range []string{"age_band", "minors_review", "rating"} {
			x.check(rule, "not asked for adults", true, "")
		}
		return
	}
	band := x.v.band()
	child := band >= pb.Film_ALL && band <= pb.Film_AGE_16
	within := func(b pb.Film_AgeBand) bool { return child && b >= pb.Film_ALL && b <= band }
	x.check("age_band", fmt.Sprintf("film %s, viewer %s", x.e.AgeBand, band), within(x.e.AgeBand), fmt.Sprintf("set age_band to %s or below", band))
	x.check("minors_review", fmt.Sprintf("cleared for %s, viewer %s", x.e.review, band), within(x.e.review),
		fmt.Sprintf("set minors_review with age_band %s or below", band))
	var ratings []string
	for _, r := range x.f.GetRatings() {
		if b, ok := ratingBand(r); ok && r.GetMarket() == x.v.Market {
			ratings = append(ratings, fmt.Sprintf("%s %s (%s)", r.GetSystem(), r.GetCode(), b))
		}
	}
	x.check("rating", "ratings for "+x.v.Market+": "+listed(ratings), child && !x.e.barred.above(x.m, band),
		fmt.Sprintf("the ratings of %s must not map above %s", x.v.Market, band))
}

func stateRemedy(state pb.Film_State) string {
	if state == pb.Film_TAKEN_DOWN {
		return "ReinstateFilm"
	}
	return "PublishFilm"
}

func given(ok bool, yes, no string) string {
	if ok {
		return yes
	}
	return no
}

func quoted(s string) string { return given(s != "", s, "unset") }

func listed(items []string) string {
	if len(items) == 0 {
		return "none"
	}
	return strings.Join(items, ", ")
}

// timeText writes a time for people.
func timeText(t int64) string {
	switch t {
	case always:
		return "ever"
	case never:
		return "for ever"
	}
	return time.UnixMicro(t).UTC().Format(time.RFC3339Nano)
}
