package curation_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/theatertest"
)

func (h *house) publish(name string) (*pb.Release, error) {
	return h.PublishRelease(h.ctx, &pb.PublishReleaseRequest{Name: name})
}

func (h *house) revert(name string, overwrite bool) (*pb.Release, error) {
	return h.RevertRelease(h.ctx, &pb.RevertReleaseRequest{Name: name, OverwriteLaterChanges: overwrite})
}

func TestReleaseIsAppliedAllOrNothing(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		film := h.film("premiere")
		r := h.release("opening", withSection("front", manual("Front", film)), withLayout("front", "sections/front"), withState(film, pb.Film_PUBLISHED))
		require.Equal(t, pb.Release_OPEN, r.GetState())
		require.Empty(t, r.GetProblems())
		require.Empty(t, h.home("front", adult), "a draft is invisible")
		done, err := h.publish(r.GetName())
		require.NoError(t, err)
		require.Equal(t, pb.Release_PUBLISHED, done.GetState())
		require.Equal(t, map[string][]string{"sections/front": {film}}, h.home("front", adult))
		for _, name := range []string{film, "sections/front", "layouts/front", r.GetName()} {
			revs, err := h.ListRevisions(h.ctx, &pb.ListRevisionsRequest{Name: name})
			require.NoError(t, err)
			require.Equal(t, done.GetAppliedRevision(), revs.GetRevisions()[0].GetRevision(), "one revision for all: %s", name)
		}
		_, err = h.publish(r.GetName())
		require.Equal(t, pb.ErrorReason_WRONG_STATE, reason(t, err))

		unready := h.film("unready", func(f *pb.Film) { f.Provenance = nil })
		bad := h.release("bad", withSection("front", manual("Other")), withState(unready, pb.Film_PUBLISHED))
		require.NotEmpty(t, bad.GetProblems())
		head := h.log.Applied()
		_, err = h.publish(bad.GetName())
		require.Equal(t, pb.ErrorReason_RELEASE_INVALID, reason(t, err))
		require.NotEmpty(t, fault.As(err).Violations)
		require.Equal(t, head, h.log.Applied(), "nothing was written")
		require.Equal(t, map[string][]string{"sections/front": {film}}, h.home("front", adult))
	})
}

func TestReleaseProblemsNameRuleAndResource(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		ended := h.film("ended", func(f *pb.Film) { f.Availability[0].EndTime = stamp(time.Now().Add(time.Hour)) })
		pins := manual("Pins")
		pins.Pins = []*pb.Pin{{Position: 1, Film: ended}, {Position: 1, Film: ended}, {Position: 2, Film: "films/none"}}
		stale := h.section("stale", manual("Old"))
		changed := manual("New")
		changed.Etag = "of-another-version"
		r := h.release("many", withSection("pins", pins), withState(ended, pb.Film_PUBLISHED), withState("films/none", pb.Film_PUBLISHED),
			withLayout("front", "sections/none", "sections/pins"), withDeletion("sections/none"), withDeletion("sections/hot"), withSection("stale", changed))
		out, err := h.ValidateRelease(h.ctx, &pb.ValidateReleaseRequest{Name: r.GetName(), Time: stamp(time.Now().Add(2 * time.Hour))})
		require.NoError(t, err)
		got := map[string]bool{}
		for _, p := range out.GetProblems() {
			got[fmt.Sprint(p.GetChange(), " ", p.GetResource(), " ", p.GetRule(), " ", p.GetWarning())] = true
		}
		require.Equal(t, map[string]bool{
			"0 sections/pins collision false": true, "0 sections/pins film-missing false": true,
			"1 films/ended rights-ended false": true, "2 films/none film-missing false": true,
			"3 layouts/front missing false": true, "4 sections/none missing false": true, "5 sections/hot built-in false": true,
			"6 " + stale.GetName() + " changed-since false": true,
		}, got)

		other := h.release("other", withSection("stale", manual("Newer")))
		_, err = h.ScheduleRelease(h.ctx, &pb.ScheduleReleaseRequest{Name: other.GetName(), PublishTime: stamp(time.Now().Add(time.Hour))})
		require.NoError(t, err)
		third, err := h.ValidateRelease(h.ctx, &pb.ValidateReleaseRequest{Name: h.release("third", withSection("stale", manual("Newest"))).GetName()})
		require.NoError(t, err)
		require.Len(t, third.GetProblems(), 1)
		require.Equal(t, "conflict", third.GetProblems()[0].GetRule())
		require.True(t, third.GetProblems()[0].GetWarning())
	})
}

func TestBadReleasesAreRefused(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		var many []*pb.ReleaseChange
		for i := range 5000 {
			many = append(many, withState(fmt.Sprintf("films/f%d", i), pb.Film_PUBLISHED))
		}
		for path, changes := range map[string][]*pb.ReleaseChange{
			"release.changes":                        many,
			"release.changes[1]":                     {withState("films/a", pb.Film_PUBLISHED), withState("films/a", pb.Film_DRAFT)},
			"release.changes[0]":                     {{}},
			"release.changes[0].change":              {{}},
			"release.changes[0].section.name":        {withSection("Bad Name", manual("x"))},
			"release.changes[0].film_state.state":    {withState("films/a", pb.Film_IN_REVIEW)},
			`release.changes[0].section.title["en"]`: {withSection("a", manual("\x00"))},
		} {
			_, err := h.CreateRelease(h.ctx, &pb.CreateReleaseRequest{ReleaseId: "bad", Release: &pb.Release{Changes: changes}})
			e := fault.As(err)
			require.NotNil(t, e, path)
			require.Equal(t, fault.InvalidArgument, e.Kind, path)
			if path != "release.changes[0]" && path != "release.changes[0].change" {
				require.Equal(t, path, e.Fields[0].Path, e.Message)
			}
		}
		r := h.release("good", withState(h.film("a"), pb.Film_PUBLISHED))
		_, err := h.ScheduleRelease(h.ctx, &pb.ScheduleReleaseRequest{Name: r.GetName(), PublishTime: stamp(time.Now().Add(-time.Minute))})
		require.Equal(t, pb.ErrorReason_INVALID_FIELD, reason(t, err))
	})
}

// A scheduled release is never early, at most 2 s late, and applied once by three replicas.
func TestP6_ScheduledReleaseOnceAndNeverEarly(t *testing.T) {
	url := theatertest.Postgres(t)
	replicas := []*house{open(t, url, "one"), open(t, url, "two"), open(t, url, "three")}
	h := replicas[0]
	film := h.film("premiere")
	r := h.release("premiere", withState(film, pb.Film_PUBLISHED))
	at := h.clock.Now().Add(1500 * time.Millisecond).Truncate(time.Microsecond)
	_, err := h.ScheduleRelease(h.ctx, &pb.ScheduleReleaseRequest{Name: r.GetName(), PublishTime: stamp(at)})
	require.NoError(t, err)
	for _, replica := range replicas {
		require.Eventually(t, func() bool {
			got := replica.shelf.Current().Release(r.GetName())
			return got.GetState() == pb.Release_PUBLISHED && replica.shelf.Current().Film(film).State == pb.Film_PUBLISHED
		}, 30*time.Second, 10*time.Millisecond)
	}
	done, err := h.GetRelease(h.ctx, &pb.GetReleaseRequest{Name: r.GetName()})
	require.NoError(t, err)
	late := done.GetAppliedTime().AsTime().Sub(at)
	require.GreaterOrEqual(t, late, time.Duration(0), "never early")
	require.Less(t, late, 5*time.Second, "2 s and what a busy machine adds")
	revs, err := h.ListRevisions(h.ctx, &pb.ListRevisionsRequest{Name: r.GetName()})
	require.NoError(t, err)
	require.Len(t, revs.GetRevisions(), 3, "created, scheduled, applied once")
}

func TestScheduledReleaseThatCannotBeAppliedFailsWhole(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		film := h.film("premiere")
		r := h.release("premiere", withSection("front", manual("Front", film)), withState(film, pb.Film_PUBLISHED))
		_, err := h.ScheduleRelease(h.ctx, &pb.ScheduleReleaseRequest{Name: r.GetName(), PublishTime: stamp(h.clock.Now().Add(time.Second))})
		require.NoError(t, err)
		_, err = h.catalog.DeleteFilm(h.ctx, &pb.DeleteFilmRequest{Name: film})
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			return h.shelf.Current().Release(r.GetName()).GetState() == pb.Release_FAILED
		}, 30*time.Second, 10*time.Millisecond)
		got := h.shelf.Current().Release(r.GetName())
		require.Equal(t, "film-missing", got.GetProblems()[0].GetRule())
		require.Nil(t, h.shelf.Current().Section("sections/front"), "nothing of it was applied")

		open, err := h.UpdateRelease(h.ctx, &pb.UpdateReleaseRequest{Release: &pb.Release{Name: r.GetName(), Etag: got.GetEtag(), Changes: []*pb.ReleaseChange{withSection("front", manual("Front"))}}})
		require.NoError(t, err)
		require.Equal(t, pb.Release_OPEN, open.GetState())
		_, err = h.publish(r.GetName())
		require.NoError(t, err)
	})
}

func TestRevertUndoesAndSaysWhatStandsInTheWay(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		film, other := h.film("one"), h.film("two")
		before := h.section("front", manual("Before"))
		r := h.release("r", withSection("front", manual("After", film)), withSection("fresh", manual("Fresh")), withState(film, pb.Film_PUBLISHED), withState(other, pb.Film_PUBLISHED))
		_, err := h.publish(r.GetName())
		require.NoError(t, err)

		now, err := h.GetSection(h.ctx, &pb.GetSectionRequest{Name: "sections/front"})
		require.NoError(t, err)
		_, err = h.UpdateSection(h.ctx, &pb.UpdateSectionRequest{Section: &pb.Section{Name: now.GetName(), Etag: now.GetEtag(), Title: map[string]string{"en": "Edited"}}})
		require.NoError(t, err)
		_, err = h.catalog.TakeDownFilm(h.ctx, &pb.TakeDownFilmRequest{Name: other, Reason: "rights"})
		require.NoError(t, err)

		_, err = h.revert(r.GetName(), false)
		e := fault.As(err)
		require.Equal(t, pb.ErrorReason_LATER_CHANGES, e.Reason)
		require.Len(t, e.Violations, 2)
		require.Equal(t, pb.Film_PUBLISHED, h.shelf.Current().Film(film).State, "nothing was undone")

		done, err := h.revert(r.GetName(), true)
		require.NoError(t, err)
		require.Equal(t, pb.Release_REVERTED, done.GetState())
		require.Equal(t, pb.Film_DRAFT, h.shelf.Current().Film(film).State)
		require.Equal(t, pb.Film_TAKEN_DOWN, h.shelf.Current().Film(other).State, "a take-down is never reinstated")
		require.Equal(t, "not-reinstated", done.GetProblems()[0].GetRule())
		after, err := h.GetSection(h.ctx, &pb.GetSectionRequest{Name: "sections/front"})
		require.NoError(t, err)
		require.Equal(t, before.GetEtag(), after.GetEtag())
		require.Nil(t, h.shelf.Current().Section("sections/fresh"))
	})
}

// content is the editors' content by name, as etags.
func (h *house) content() map[string]string {
	all := map[string]string{}
	snap := h.shelf.Current()
	for _, s := range snap.Sections() {
		all[s.GetName()] = s.GetEtag()
	}
	for _, l := range snap.Layouts() {
		all[l.GetName()] = l.GetEtag()
	}
	for slot := range snap.Slots() {
		if e := snap.At(slot); e != nil {
			all[e.Name] = e.State.String()
		}
	}
	return all
}

// Release and revert, without later edits, give the same content; a release gives what its
// changes say, or nothing at all.
func TestPropertyReleaseThenRevertIsNothing(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		h := open(t, url, "replica-1")
		var names []string
		for i := range 6 {
			names = append(names, h.film(fmt.Sprintf("film%d", i)))
		}
		round := 0
		one := func(t *rapid.T) {
			round++
			var changes []*pb.ReleaseChange
			sections := map[string]bool{}
			for i := range rapid.IntRange(1, 6).Draw(t, "changes") {
				id := fmt.Sprintf("s%d", rapid.IntRange(0, 3).Draw(t, "section"))
				film := rapid.SampledFrom(names).Draw(t, "film")
				if sections[id] || sections[film] {
					continue
				}
				switch rapid.IntRange(0, 3).Draw(t, "kind") {
				case 0, 1:
					sections[id] = true
					changes = append(changes, withSection(id, manual(fmt.Sprint("title ", round, i), film)))
				case 2:
					sections[film] = true
					changes = append(changes, withState(film, rapid.SampledFrom([]pb.Film_State{pb.Film_PUBLISHED, pb.Film_DRAFT}).Draw(t, "state")))
				case 3:
					sections[id] = true
					changes = append(changes, withDeletion("sections/"+id))
				}
			}
			before := h.content()
			r, err := h.CreateRelease(h.ctx, &pb.CreateReleaseRequest{ReleaseId: fmt.Sprintf("r%d", round), Release: &pb.Release{Changes: changes}})
			require.NoError(t, err)
			if _, err = h.publish(r.GetName()); err != nil {
				require.True(t, fault.Is(err, pb.ErrorReason_RELEASE_INVALID), "%v", err)
				require.Equal(t, before, h.content())
				return
			}
			for _, c := range changes {
				if f := c.GetFilmState(); f != nil {
					require.Equal(t, f.GetState(), h.shelf.Current().Film(f.GetFilm()).State)
				}
				if s := c.GetSection(); s != nil {
					require.Equal(t, s.GetTitle(), h.shelf.Current().Section(s.GetName()).GetTitle())
				}
				if d := c.GetDelete(); d != nil {
					require.Nil(t, h.shelf.Current().Section(d.GetName()))
				}
			}
			if rapid.Bool().Draw(t, "revert") {
				_, err := h.revert(r.GetName(), false)
				require.NoError(t, err)
				require.Equal(t, before, h.content())
			}
		}
		rapid.Check(t, func(t *rapid.T) { // 100 times 5 releases on each database
			for range 5 {
				one(t)
			}
		})
	})
}
