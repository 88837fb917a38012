package curation

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/resource"
	"github.com/aitheater/theater/internal/shelf"
	"github.com/aitheater/theater/internal/texts"
)

// Rule ids of release problems beside those of pins and of the market rules.
const (
	ruleField       = "field"
	ruleTwice       = "changed-twice"
	ruleMissing     = "missing"
	ruleBuiltin     = "built-in"
	ruleChanged     = "changed-since"
	ruleConflict    = "conflict"
	ruleRightsEnded = "rights-ended"
)

// subject is the name of the resource a change is about.
func subject(c *pb.ReleaseChange) string {
	switch c := c.GetChange().(type) {
	case *pb.ReleaseChange_Section:
		return c.Section.GetName()
	case *pb.ReleaseChange_Layout:
		return c.Layout.GetName()
	case *pb.ReleaseChange_FilmState:
		return c.FilmState.GetFilm()
	case *pb.ReleaseChange_Delete:
		return c.Delete.GetName()
	}
	return ""
}

// subjects are the names of all resources a release changes.
func subjects(r *pb.Release) []string {
	names := make([]string, len(r.GetChanges()))
	for i, c := range r.GetChanges() {
		names[i] = subject(c)
	}
	return names
}

// checkRelease says which field rules a release breaks: those that make it unfit to be stored.
func (s *Service) checkRelease(path string, r *pb.Release, snap *shelf.Snapshot) (resource.Broken, error) {
	broken, err := resource.Schema(path, without(r, "problems"))
	if err != nil || len(broken) > 0 {
		return broken, err
	}
	if r.GetTitle() != "" {
		broken.Require(path+".title", texts.Title(r.GetTitle()))
	}
	seen := map[string]int{}
	for i, c := range r.GetChanges() {
		at := fmt.Sprintf("%s.changes[%d]", path, i)
		switch c := c.GetChange().(type) {
		case *pb.ReleaseChange_Section:
			broken.Require(at+".section.name", nameRule(sectionPrefix, c.Section.GetName()))
			more, err := s.checkSection(at+".section", c.Section, snap)
			if err != nil {
				return nil, err
			}
			broken = append(broken, more...)
		case *pb.ReleaseChange_Layout:
			broken.Require(at+".layout.name", nameRule(layoutPrefix, c.Layout.GetName()))
		case *pb.ReleaseChange_FilmState:
			if c.FilmState.GetState() == pb.Film_IN_REVIEW {
				broken.Add(at+".film_state.state", "must be DRAFT, PUBLISHED or TAKEN_DOWN")
			}
		}
		if first, twice := seen[subject(c)]; twice {
			broken.Add(at, "changes %s, which changes[%d] changes already", subject(c), first)
		}
		seen[subject(c)] = i
	}
	return broken, nil
}

func nameRule(prefix, name string) string {
	if err := resource.CheckName("", prefix, name); err != nil {
		return fault.As(err).Fields[0].Rule
	}
	return ""
}

// problems says what stands in the way of a release at a time, over a snapshot: what stops
// it, and warnings.
func (s *Service) problems(r *pb.Release, snap *shelf.Snapshot, at time.Time) []*pb.ReleaseProblem {
	j := &judge{s: s, snap: snap, at: at, release: r, sections: map[string]*pb.Section{}}
	for _, c := range r.GetChanges() {
		if sec := c.GetSection(); sec != nil {
			j.sections[sec.GetName()] = sec
		}
		if d := c.GetDelete(); d != nil {
			j.sections[d.GetName()] = nil
		}
	}
	for i, c := range r.GetChanges() {
		j.index = int32(i)
		switch c := c.GetChange().(type) {
		case *pb.ReleaseChange_Section:
			j.section(c.Section)
		case *pb.ReleaseChange_Layout:
			j.layout(c.Layout)
		case *pb.ReleaseChange_FilmState:
			j.film(c.FilmState)
		case *pb.ReleaseChange_Delete:
			j.deletion(c.Delete.GetName())
		}
	}
	j.conflicts()
	return j.found
}

// judge collects the problems of one release.
type judge struct {
	s        *Service
	snap     *shelf.Snapshot
	at       time.Time
	release  *pb.Release
	sections map[string]*pb.Section // as the release leaves them; nil = deleted
	index    int32
	found    []*pb.ReleaseProblem
}

func (j *judge) add(warning bool, name, rule, why string, args ...any) {
	j.found = append(j.found, &pb.ReleaseProblem{Change: j.index, Resource: name, Rule: rule, Description: fmt.Sprintf(why, args...), Warning: warning})
}

func (j *judge) etag(name, sent, current string) {
	if sent != "" && sent != current {
		j.add(false, name, ruleChanged, "%s was changed since this release was made from it; its etag is now %q", name, current)
	}
}

func (j *judge) section(sec *pb.Section) {
	broken, err := j.s.checkSection("section", sec, j.snap)
	if err != nil {
		j.add(false, sec.GetName(), ruleField, "%v", err)
	}
	for _, f := range broken {
		j.add(false, sec.GetName(), ruleField, "%s: %s", f.Path, f.Rule)
	}
	stored := j.snap.Section(sec.GetName())
	if stored == nil {
		stored, _ = builtin(j.s.BuiltinSections, sec.GetName())
	}
	j.etag(sec.GetName(), sec.GetEtag(), stored.GetEtag())
	for _, p := range pinProblems(sec, j.snap, j.at) {
		switch p.GetReason() {
		case pinMissing, pinCollision, pinPastLimit, pinHidden:
			j.add(false, sec.GetName(), p.GetReason(), "the pin of %s at %d is never shown", p.GetFilm(), p.GetPosition())
		case pinNotPublished:
			if !j.publishes(p.GetFilm()) {
				j.add(true, sec.GetName(), p.GetReason(), "%s, pinned at %d, is not published", p.GetFilm(), p.GetPosition())
			}
		default:
			j.add(true, sec.GetName(), p.GetReason(), "the pin of %s at %d is never shown", p.GetFilm(), p.GetPosition())
		}
	}
}

// publishes reports whether the release itself publishes the film.
func (j *judge) publishes(film string) bool {
	return slices.ContainsFunc(j.release.GetChanges(), func(c *pb.ReleaseChange) bool {
		return c.GetFilmState().GetFilm() == film && c.GetFilmState().GetState() == pb.Film_PUBLISHED
	})
}

func (j *judge) layout(l *pb.Layout) {
	stored := j.snap.Layout(l.GetName())
	if stored == nil {
		stored, _ = builtin(j.s.BuiltinLayouts, l.GetName())
	}
	j.etag(l.GetName(), l.GetEtag(), stored.GetEtag())
	for _, name := range l.GetSections() {
		sec, changed := j.sections[name]
		if changed && sec == nil || !changed && !j.s.knows(j.snap, name) {
			j.add(false, l.GetName(), ruleMissing, "%s: there is no such section", name)
		}
	}
}

func (j *judge) film(c *pb.FilmStateChange) {
	film := j.snap.Film(c.GetFilm())
	if film == nil || film.Deleted {
		j.add(false, c.GetFilm(), pinMissing, "there is no such film")
		return
	}
	m := film.Film()
	for _, v := range j.s.Films.CheckState(m, c.GetState(), j.at) {
		j.add(false, c.GetFilm(), v.Rule, "%s", v.Description)
	}
	if c.GetState() == pb.Film_PUBLISHED && !slices.ContainsFunc(m.GetAvailability(), func(a *pb.Availability) bool {
		return a.GetEndTime() == nil || a.GetEndTime().AsTime().After(j.at)
	}) {
		j.add(false, c.GetFilm(), ruleRightsEnded, "no window of its availability is open then or later; add one")
	}
}

func (j *judge) deletion(name string) {
	if j.snap.Section(name) != nil {
		return
	}
	if _, ours := builtin(j.s.BuiltinSections, name); ours {
		j.add(false, name, ruleBuiltin, "a built-in section cannot be deleted; take it out of the layouts")
		return
	}
	j.add(false, name, ruleMissing, "there is no such section")
}

// conflicts warns of other scheduled releases that change the same resources.
func (j *judge) conflicts() {
	mine := subjects(j.release)
	for _, other := range j.snap.Releases() {
		if other.GetName() == j.release.GetName() || other.GetState() != pb.Release_SCHEDULED {
			continue
		}
		for i, name := range mine {
			if slices.Contains(subjects(other), name) {
				j.index = int32(i)
				j.add(true, name, ruleConflict, "%s, scheduled for %s, changes it too", other.GetName(), other.GetPublishTime().AsTime().Format(time.RFC3339))
			}
		}
	}
}

// stops reports whether any problem is more than a warning.
func stops(problems []*pb.ReleaseProblem) bool {
	return slices.ContainsFunc(problems, func(p *pb.ReleaseProblem) bool { return !p.GetWarning() })
}

// invalid is the fault that lists what stops a release.
func invalid(name string, problems []*pb.ReleaseProblem) *fault.Error {
	e := fault.New(fault.FailedPrecondition, pb.ErrorReason_RELEASE_INVALID, "%s cannot be applied", name)
	for _, p := range problems {
		if p.GetWarning() {
			continue
		}
		if len(e.Violations) == 0 {
			e.Message += ": " + p.GetResource() + ": " + p.GetDescription()
		}
		if len(e.Violations) < 20 { // errors travel in headers
			e.Violations = append(e.Violations, fault.Violation{Rule: p.GetRule(), Subject: p.GetResource(), Description: p.GetDescription()})
		}
	}
	return e
}

// in refuses a release that is in none of the states.
func in(r *pb.Release, method string, states ...pb.Release_State) error {
	if slices.Contains(states, r.GetState()) {
		return nil
	}
	return fault.New(fault.FailedPrecondition, pb.ErrorReason_WRONG_STATE, "%s is %s; %s takes releases that are %v", r.GetName(), r.GetState(), method, states)
}

// newRelease is an OPEN release with the fields a client may set.
func newRelease(name string, sent *pb.Release) *pb.Release {
	r := &pb.Release{}
	proto.Merge(r, sent)
	keepChanges(r)
	r.Name, r.State = name, pb.Release_OPEN
	return r
}
