package curation

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/resource"
	"github.com/aitheater/theater/internal/shelf"
	"github.com/aitheater/theater/internal/texts"
)

const (
	sectionPrefix = "sections/"
	layoutPrefix  = "layouts/"
	releasePrefix = "releases/"
)

// checkSection says which rules a whole section breaks; path is where it stands in the
// request, snap is what charts, genres and filters may speak of.
func (s *Service) checkSection(path string, sec *pb.Section, snap *shelf.Snapshot) (resource.Broken, error) {
	broken, err := resource.Schema(path, without(sec, "problems"))
	if err != nil || len(broken) > 0 {
		return broken, err
	}
	broken = append(broken, texts.Titles(path+".title", sec.GetTitle())...)
	window(&broken, path, sec.GetStartTime(), sec.GetEndTime())
	for i, p := range sec.GetPins() {
		window(&broken, fmt.Sprintf("%s.pins[%d]", path, i), p.GetStartTime(), p.GetEndTime())
	}
	if sec.GetMinForm() == pb.Film_FORM_UNSPECIFIED || sec.GetMinForm() == pb.Film_FEATURE || sec.GetMinForm() == pb.Film_SHORT {
		s.checkSource(&broken, path, sec, snap)
	}
	return broken, nil
}

func (s *Service) checkSource(broken *resource.Broken, path string, sec *pb.Section, snap *shelf.Snapshot) {
	switch src := sec.GetSource().(type) {
	case nil:
		broken.Add(path, "needs a source: manual, chart or rule")
	case *pb.Section_Chart:
		if _, ours := builtin(s.BuiltinCharts, src.Chart.GetChart()); !ours && snap.Chart(src.Chart.GetChart()) == nil {
			broken.Add(path+".chart.chart", "unknown chart %q", src.Chart.GetChart())
		}
		if g := src.Chart.GetGenre(); g != "" && snap.Genre("genres/"+g) == nil {
			broken.Add(path+".chart.genre", "unknown genre %q", g)
		}
	case *pb.Section_Rule:
		if _, err := shelf.CompileFilter(src.Rule.GetFilter()); err != nil {
			broken.Add(path+".rule.filter", "%s", message(err))
		}
		if _, err := shelf.CompileOrder(src.Rule.GetOrderBy()); err != nil {
			broken.Add(path+".rule.order_by", "%s", message(err))
		}
	}
}

func message(err error) string {
	if e := fault.As(err); e != nil {
		return e.Message
	}
	return err.Error()
}

func window(broken *resource.Broken, path string, start, end *timestamppb.Timestamp) {
	if start != nil && end != nil && !end.AsTime().After(start.AsTime()) {
		broken.Add(path+".end_time", "must be after start_time")
	}
}

// overlap reports whether two pins are ever in force at once.
func overlap(a, b *pb.Pin) bool {
	before := func(end, start *timestamppb.Timestamp) bool {
		return end != nil && start != nil && !end.AsTime().After(start.AsTime())
	}
	return !before(a.GetEndTime(), b.GetStartTime()) && !before(b.GetEndTime(), a.GetStartTime())
}

// Reasons why a pin is of no use to anyone. The first four of a release's section stop it.
const (
	pinMissing      = "film-missing"
	pinCollision    = "collision"
	pinPastLimit    = "past-limit"
	pinHidden       = "hidden"
	pinDuplicate    = "duplicate"
	pinShort        = "short"
	pinNotPublished = "not-published"
)

// pinProblems names the pins that no viewer would see, as of a snapshot. Expired pins are
// none: windows end things.
func pinProblems(sec *pb.Section, snap *shelf.Snapshot, now time.Time) []*pb.PinProblem {
	var found []*pb.PinProblem
	var standing []*pb.Pin
	for _, p := range sec.GetPins() {
		if p.GetEndTime() != nil && !p.GetEndTime().AsTime().After(now) {
			continue
		}
		reason := pinProblem(sec, p, standing, snap)
		if reason == "" || reason == pinNotPublished { // it holds its place for when it is published
			standing = append(standing, p)
		}
		if reason == "" {
			continue
		}
		found = append(found, &pb.PinProblem{Position: p.GetPosition(), Film: p.GetFilm(), Reason: reason})
	}
	return found
}

// pinProblem says why a pin is of no use beside those that stand before it.
func pinProblem(sec *pb.Section, p *pb.Pin, standing []*pb.Pin, snap *shelf.Snapshot) string {
	film := snap.Film(p.GetFilm())
	switch {
	case film == nil || film.Deleted:
		return pinMissing
	case sec.GetLimit() > 0 && p.GetPosition() > sec.GetLimit():
		return pinPastLimit
	}
	for _, hidden := range sec.GetHiddenFilms() {
		if hidden == p.GetFilm() {
			return pinHidden
		}
	}
	for _, earlier := range standing {
		if !overlap(earlier, p) {
			continue
		}
		if earlier.GetPosition() == p.GetPosition() {
			return pinCollision
		}
		if earlier.GetFilm() == p.GetFilm() {
			return pinDuplicate
		}
	}
	switch {
	case sec.GetMinForm() != pb.Film_SHORT && film.Form != pb.Film_FEATURE:
		return pinShort
	case film.State != pb.Film_PUBLISHED:
		return pinNotPublished
	}
	return ""
}

// withProblems is the section as it is answered.
func withProblems(sec *pb.Section, snap *shelf.Snapshot, now time.Time) *pb.Section {
	out := proto.CloneOf(sec)
	out.Problems = pinProblems(sec, snap, now)
	return out
}

// mayTouch refuses a section that reaches beyond the markets of an editor's credentials.
func mayTouch(c *auth.Caller, sections ...*pb.Section) error {
	if len(c.Markets) == 0 {
		return nil
	}
	for _, sec := range sections {
		if sec == nil {
			continue
		}
		markets := sec.GetTargeting().GetMarkets()
		if len(markets) == 0 {
			return denied(sec.GetName(), "it is shown in every market")
		}
		for _, m := range markets {
			if !c.MayMarket(m) {
				return denied(sec.GetName(), "it is shown in "+m)
			}
		}
	}
	return nil
}

func denied(name, why string) error {
	return fault.New(fault.PermissionDenied, pb.ErrorReason_PERMISSION_DENIED, "%s: your credentials are limited to some markets, and %s", name, why)
}

// checkLayout says which rules a layout breaks; known says which sections there are.
func checkLayout(path string, l *pb.Layout, known func(section string) bool) (resource.Broken, error) {
	broken, err := resource.Schema(path, l)
	if err != nil || len(broken) > 0 {
		return broken, err
	}
	for i, name := range l.GetSections() {
		if !known(name) {
			broken.Add(fmt.Sprintf("%s.sections[%d]", path, i), "unknown section %q", name)
		}
	}
	return broken, nil
}

// knows reports whether a section is stored or built in.
func (s *Service) knows(snap *shelf.Snapshot, section string) bool {
	_, ours := builtin(s.BuiltinSections, section)
	return ours || snap.Section(section) != nil
}
