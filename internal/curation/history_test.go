package curation_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/changes"
	"github.com/aitheater/theater/internal/fault"
)

func TestNoRollbackReachesBeyondTheCallersMarkets(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		sg := auth.WithCaller(context.Background(), &auth.Caller{ID: "sg", Roles: 1 << pb.Access_PUBLISHER, Markets: []string{"SG"}})
		local := h.film("local", func(f *pb.Film) { f.Availability = []*pb.Availability{{Markets: []string{"SG"}}} })
		shared := h.film("shared")
		genre, err := h.catalog.CreateGenre(h.ctx, &pb.CreateGenreRequest{GenreId: "noir", Genre: &pb.Genre{DisplayNames: map[string]string{"en": "Noir"}}})
		require.NoError(t, err)
		chart, err := h.charts.CreateChart(h.ctx, &pb.CreateChartRequest{ChartId: "mine", Chart: &pb.Chart{Kind: pb.Chart_NEW}})
		require.NoError(t, err)
		_, err = h.charts.UpdateChart(h.ctx, &pb.UpdateChartRequest{Chart: &pb.Chart{Name: chart.GetName(), Title: map[string]string{"en": "Mine"}}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"title"}}})
		require.NoError(t, err)
		_, err = h.catalog.UpdateGenre(h.ctx, &pb.UpdateGenreRequest{Genre: &pb.Genre{Name: genre.GetName(), Children: true}})
		require.NoError(t, err)
		for _, name := range []string{local, shared} {
			_, err = h.catalog.UpdateFilm(h.ctx, &pb.UpdateFilmRequest{Film: &pb.Film{Name: name, Tags: []string{"edited"}}})
			require.NoError(t, err)
		}
		for name, may := range map[string]bool{local: true, shared: false, genre.GetName(): false, chart.GetName(): false} {
			all, err := h.ListRevisions(h.ctx, &pb.ListRevisionsRequest{Name: name})
			require.NoError(t, err)
			first := all.GetRevisions()[len(all.GetRevisions())-1].GetRevision()
			_, err = h.Rollback(sg, &pb.RollbackRequest{Name: name, Revision: first})
			if may {
				require.NoError(t, err, name)
				continue
			}
			require.Equal(t, pb.ErrorReason_PERMISSION_DENIED, reason(t, err), name)
		}
	})
}

func TestRollbackMakesAnEarlierRevisionCurrent(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		first := h.section("picks", manual("First"))
		second, err := h.UpdateSection(h.ctx, &pb.UpdateSectionRequest{Section: &pb.Section{Name: first.GetName(), Etag: first.GetEtag(), Title: map[string]string{"en": "Second"}}})
		require.NoError(t, err)
		_, err = h.Rollback(h.ctx, &pb.RollbackRequest{Name: first.GetName(), Revision: first.GetRevision(), Etag: first.GetEtag()})
		require.Equal(t, pb.ErrorReason_ETAG_MISMATCH, reason(t, err))
		back, err := h.Rollback(h.ctx, &pb.RollbackRequest{Name: first.GetName(), Revision: first.GetRevision(), Etag: second.GetEtag()})
		require.NoError(t, err)
		require.Equal(t, first.GetEtag(), back.GetSection().GetEtag())
		require.Greater(t, back.GetRevision(), second.GetRevision(), "an undo is a new write")

		film := h.film("film")
		was, err := h.catalog.GetFilm(h.ctx, &pb.GetFilmRequest{Name: film})
		require.NoError(t, err)
		_, err = h.catalog.UpdateFilm(h.ctx, &pb.UpdateFilmRequest{Film: &pb.Film{Name: film, Tags: []string{"edited"}}})
		require.NoError(t, err)
		_, err = h.catalog.TakeDownFilm(h.ctx, &pb.TakeDownFilmRequest{Name: film})
		require.Error(t, err, "a draft cannot be taken down")
		_, err = h.catalog.PublishFilm(h.ctx, &pb.PublishFilmRequest{Name: film})
		require.NoError(t, err)
		_, err = h.catalog.TakeDownFilm(h.ctx, &pb.TakeDownFilmRequest{Name: film})
		require.NoError(t, err)
		_, err = h.Rollback(h.ctx, &pb.RollbackRequest{Name: film, Revision: was.GetRevision()})
		require.NoError(t, err)
		got := h.shelf.Current().Film(film).Film()
		require.Empty(t, got.GetTags())
		require.Equal(t, pb.Film_TAKEN_DOWN, got.GetState(), "an undo never brings a film back")

		for name, want := range map[string]pb.ErrorReason{"releases/r": pb.ErrorReason_INVALID_FIELD, "films/none": pb.ErrorReason_RESOURCE_NOT_FOUND, "things/x": pb.ErrorReason_INVALID_FIELD} {
			_, err = h.Rollback(h.ctx, &pb.RollbackRequest{Name: name, Revision: 1})
			require.Equal(t, want, reason(t, err), name)
		}
	})
}

func TestListRevisionsPagesNewestFirst(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		s := h.section("picks", manual("0"))
		for _, title := range []string{"1", "2", "3", "4"} {
			var err error
			s, err = h.UpdateSection(as("ed-"+title), &pb.UpdateSectionRequest{Section: &pb.Section{Name: s.GetName(), Etag: s.GetEtag(), Title: map[string]string{"en": title}}})
			require.NoError(t, err)
		}
		_, err := h.DeleteSection(h.ctx, &pb.DeleteSectionRequest{Name: s.GetName()})
		require.NoError(t, err)
		var titles []string
		req := &pb.ListRevisionsRequest{Name: s.GetName(), PageSize: 2}
		for {
			out, err := h.ListRevisions(h.ctx, req)
			require.NoError(t, err)
			for _, r := range out.GetRevisions() {
				titles = append(titles, r.GetSection().GetTitle()["en"])
			}
			if req.PageToken = out.GetNextPageToken(); req.PageToken == "" {
				break
			}
		}
		require.Equal(t, []string{"", "4", "3", "2", "1", "0"}, titles)
	})
}

// auditStream collects what ExportAuditEntries sends.
type auditStream struct {
	grpc.ServerStream
	ctx     context.Context
	entries []*pb.AuditEntry
}

func (s *auditStream) Context() context.Context { return s.ctx }

func (s *auditStream) Send(m *pb.ExportAuditEntriesResponse) error {
	s.entries = append(s.entries, m.GetAuditEntries()...)
	return nil
}

func TestP16_EveryChangeIsAuditedInAChain(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		film := h.film("film")
		h.section("picks", manual("Picks", film))
		r := h.release("r", withState(film, pb.Film_PUBLISHED), withSection("picks", manual("Other")))
		_, err := h.publish(r.GetName())
		require.NoError(t, err)
		require.NoError(t, h.log.AuditDenied(h.ctx, changes.Call{Actor: "mallory", Method: "theater.v1.CurationService/DeleteSection"}, "sections/picks", "not an editor"))

		var all auditStream
		all.ctx = h.ctx
		require.NoError(t, h.ExportAuditEntries(&pb.ExportAuditEntriesRequest{}, &all))
		require.Len(t, all.entries, 3+3+1, "one a change: three creations, three resources of the release, one denial")
		n, err := h.log.VerifyAudit(h.ctx)
		require.NoError(t, err)
		require.EqualValues(t, len(all.entries), n)
		for _, name := range []string{film, "sections/picks", r.GetName()} {
			revs, err := h.ListRevisions(h.ctx, &pb.ListRevisionsRequest{Name: name})
			require.NoError(t, err)
			require.Len(t, revs.GetRevisions(), 2)
		}

		for filter, want := range map[string]int{
			``: 7, `resource = "sections/picks"`: 3, `resource:"films/"`: 2, `actor = "mallory"`: 1, `method:"PublishRelease"`: 3,
			`revision > 0 AND NOT actor = "mallory"`: 6, `revision = 0 OR resource = "films/film"`: 3, `time > "2020-01-01T00:00:00Z"`: 7, `time < "2020-01-01T00:00:00Z"`: 0,
		} {
			var got []*pb.AuditEntry
			req := &pb.ListAuditEntriesRequest{Filter: filter, PageSize: 2}
			for {
				out, err := h.ListAuditEntries(h.ctx, req)
				require.NoError(t, err, filter)
				got = append(got, out.GetAuditEntries()...)
				if req.PageToken = out.GetNextPageToken(); req.PageToken == "" {
					break
				}
			}
			require.Len(t, got, want, filter)
			for i := 1; i < len(got); i++ {
				require.Greater(t, got[i-1].GetSequence(), got[i].GetSequence(), "newest first")
			}
		}
		for _, filter := range []string{"colour = 1", "revision = many", `time = "yesterday"`, "((((((((((((((((((revision = 1))))))))))))))))))", "actor"} {
			_, err := h.ListAuditEntries(h.ctx, &pb.ListAuditEntriesRequest{Filter: filter})
			require.Equal(t, pb.ErrorReason_INVALID_FILTER, reason(t, err), filter)
		}
	})
}

func TestPreviewShowsWhatWillBeServed(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		old, fresh := h.published("old"), h.film("fresh")
		h.section("front", manual("Front", old))
		h.layout("front", "sections/front")
		began := h.clock.Now()
		sec := manual("Front", old, fresh)
		sec.Pins = []*pb.Pin{{Position: 1, Film: fresh}}
		r := h.release("next", withSection("front", sec), withState(fresh, pb.Film_PUBLISHED))

		preview := func(at time.Time, releases ...string) *pb.PreviewHomeResponse {
			req := &pb.PreviewHomeRequest{Viewer: adult, Page: "front", Releases: releases}
			if !at.IsZero() {
				req.Time = stamp(at)
			}
			out, err := h.PreviewHome(h.ctx, req)
			require.NoError(t, err)
			return out
		}
		require.Equal(t, map[string][]string{"sections/front": {old}}, films(preview(time.Time{}).GetSections()))
		require.Equal(t, map[string][]string{"sections/front": {fresh, old}}, films(preview(time.Time{}, r.GetName()).GetSections()))
		_, err := h.ScheduleRelease(h.ctx, &pb.ScheduleReleaseRequest{Name: r.GetName(), PublishTime: stamp(h.clock.Now().Add(time.Hour))})
		require.NoError(t, err)
		require.Equal(t, map[string][]string{"sections/front": {old}}, films(preview(h.clock.Now().Add(59*time.Minute)).GetSections()))
		soon := preview(h.clock.Now().Add(61 * time.Minute))
		require.Equal(t, map[string][]string{"sections/front": {fresh, old}}, films(soon.GetSections()))
		require.NotEmpty(t, soon.GetNotes(), "a future preview says what it cannot know")

		child := &pb.PreviewHomeRequest{Viewer: &pb.Viewer{Market: "SG", Audience: pb.Viewer_KIDS}, Page: "front", Releases: []string{r.GetName()}}
		kids, err := h.PreviewHome(h.ctx, child)
		require.NoError(t, err)
		require.Empty(t, kids.GetSections())
		require.Equal(t, "not-visible", kids.GetDroppedPins()[0].GetReason())

		_, err = h.publish(r.GetName())
		require.NoError(t, err)
		served, err := h.listing.GetHome(h.ctx, &pb.GetHomeRequest{Viewer: adult, Page: "front"})
		require.NoError(t, err)
		require.Equal(t, films(served.GetSections()), films(preview(time.Time{}).GetSections()))
		past := preview(began)
		require.Equal(t, map[string][]string{"sections/front": {old}}, films(past.GetSections()), "the page of then")
		require.NotEmpty(t, past.GetNotes())

		for _, bad := range []*pb.PreviewHomeRequest{
			{Viewer: adult, Time: stamp(time.Now().AddDate(-2, 0, 0))}, {Viewer: adult, Releases: []string{"releases/none"}}, {Viewer: adult, Releases: []string{"x"}},
			{Viewer: &pb.Viewer{}}, {Viewer: adult, CardsPerSection: -1},
		} {
			_, err := h.PreviewHome(h.ctx, bad)
			require.NotNil(t, fault.As(err), "%v", bad)
		}
	})
}

// What the preview of now shows is, card for card, what GetHome serves, on every built-in page.
func TestPreviewOfNowEqualsHome(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		for _, id := range []string{"one", "two", "three"} {
			h.published(id, func(f *pb.Film) {
				f.MinorsReview = &pb.MinorsReview{Reviewer: "r", AgeBand: pb.Film_ALL}
				f.AgeBand = pb.Film_ALL
			})
		}
		for _, page := range []string{"home", "kids"} {
			for _, v := range []*pb.Viewer{adult, {Market: "US", Languages: []string{"zh"}}} {
				served, err := h.listing.GetHome(h.ctx, &pb.GetHomeRequest{Viewer: v, Page: page})
				require.NoError(t, err)
				shown, err := h.PreviewHome(h.ctx, &pb.PreviewHomeRequest{Viewer: v, Page: page})
				require.NoError(t, err)
				for _, s := range served.GetSections() {
					s.NextPageToken = ""
				}
				require.True(t, proto.Equal(&pb.GetHomeResponse{Sections: served.GetSections()}, &pb.GetHomeResponse{Sections: shown.GetSections()}), "%s: %v\n%v", page, served, shown)
				require.NotEmpty(t, shown.GetSections())
			}
		}
	})
}
