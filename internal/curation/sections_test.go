package curation_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
)

func TestSectionIsShownWhereALayoutNamesIt(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		a, b := h.published("first"), h.published("second")
		h.section("picks", manual("Picks", b, a))
		require.Empty(t, h.home("front", adult), "a page without a layout is empty, not an error")
		h.layout("front", "sections/picks")
		require.Equal(t, map[string][]string{"sections/picks": {b, a}}, h.home("front", adult))
		require.Empty(t, h.home("front", &pb.Viewer{Market: "SG"}), "children see nothing that is not cleared")
	})
}

func TestUpdatesAreNeverLost(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		old := h.section("picks", manual("Picks"))
		update := func(title, etag string) (*pb.Section, error) {
			return h.UpdateSection(as("bo"), &pb.UpdateSectionRequest{
				Section:    &pb.Section{Name: old.GetName(), Etag: etag, Title: map[string]string{"en": title}},
				UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"title"}},
			})
		}
		_, err := update("Without an etag", "")
		require.Equal(t, pb.ErrorReason_INVALID_FIELD, reason(t, err))
		now, err := update("Bo's picks", old.GetEtag())
		require.NoError(t, err)
		require.NotEqual(t, old.GetEtag(), now.GetEtag())
		_, err = update("Al's picks", old.GetEtag())
		e := fault.As(err)
		require.Equal(t, pb.ErrorReason_ETAG_MISMATCH, e.Reason)
		require.Equal(t, map[string]string{"etag": now.GetEtag(), "changed_fields": "title", "changed_by": "bo"}, e.Metadata)
	})
}

// Of many editors who build on the same version exactly one wins each round.
func TestUselessPinsAreReportedOnSave(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		shown, draft := h.published("shown"), h.film("draft")
		short := h.published("short", func(f *pb.Film) { f.Runtime.Seconds = 14*60 + 59 })
		now := time.Now()
		s := manual("Pins", shown)
		s.Limit, s.HiddenFilms = 5, []string{"films/hidden-one"}
		h.film("hidden-one")
		s.Pins = []*pb.Pin{
			{Position: 1, Film: shown},
			{Position: 1, Film: draft},
			{Position: 3, Film: shown},
			{Position: 2, Film: "films/nowhere"},
			{Position: 3, Film: short},
			{Position: 6, Film: shown},
			{Position: 4, Film: "films/hidden-one"},
			{Position: 5, Film: draft},
			{Position: 1, Film: draft, StartTime: stamp(now.Add(-2 * time.Hour)), EndTime: stamp(now.Add(-time.Hour))},
		}
		got := map[int32][]string{}
		for _, p := range h.section("pins", s).GetProblems() {
			got[p.GetPosition()] = append(got[p.GetPosition()], p.GetReason())
		}
		require.Equal(t, map[int32][]string{1: {"collision"}, 2: {"film-missing"}, 3: {"duplicate", "short"}, 4: {"hidden"}, 5: {"not-published"}, 6: {"past-limit"}}, got)
	})
}

func TestBadSectionsAreRefusedWithTheirPath(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		now := time.Now()
		for path, bad := range map[string]func(s *pb.Section){
			"section":                  func(s *pb.Section) { s.Source = nil },
			`section.title["en"]`:      func(s *pb.Section) { s.Title["en"] = "bell\a" },
			`section.title["no_good"]`: func(s *pb.Section) { s.Title["no_good"] = "x" },
			"section.end_time":         func(s *pb.Section) { s.StartTime, s.EndTime = stamp(now), stamp(now) },
			"section.pins[0].film":     func(s *pb.Section) { s.Pins = []*pb.Pin{{Position: 1, Film: "film/x"}} },
			"section.pins[0].position": func(s *pb.Section) { s.Pins = []*pb.Pin{{Film: "films/x"}} },
			"section.pins":             func(s *pb.Section) { s.Pins = make([]*pb.Pin, 10_000) },
			"section.rule.filter":      func(s *pb.Section) { s.Source = &pb.Section_Rule{Rule: &pb.RuleSource{Filter: "colour = 1"}} },
			"section.chart.chart":      func(s *pb.Section) { s.Source = &pb.Section_Chart{Chart: &pb.ChartSource{Chart: "charts/none"}} },
			"section.chart.genre": func(s *pb.Section) {
				s.Source = &pb.Section_Chart{Chart: &pb.ChartSource{Chart: "charts/hot", Genre: "none"}}
			},
			"section.start_time": func(s *pb.Section) { s.StartTime = stamp(now); s.StartTime.Nanos = -1 },
		} {
			s := manual("Bad")
			bad(s)
			_, err := h.CreateSection(h.ctx, &pb.CreateSectionRequest{SectionId: "bad", Section: s})
			e := fault.As(err)
			require.NotNil(t, e, path)
			require.Equal(t, fault.InvalidArgument, e.Kind, path)
			require.Equal(t, path, e.Fields[0].Path, e.Message)
		}
		_, err := h.GetSection(h.ctx, &pb.GetSectionRequest{Name: "sections/bad"})
		require.Equal(t, pb.ErrorReason_RESOURCE_NOT_FOUND, reason(t, err))
	})
}

func TestBuiltInSectionsCanBeReplacedAndBroughtBack(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		ours, err := h.GetSection(h.ctx, &pb.GetSectionRequest{Name: "sections/hot"})
		require.NoError(t, err)
		mine, err := h.UpdateSection(h.ctx, &pb.UpdateSectionRequest{Section: &pb.Section{Name: ours.GetName(), Etag: ours.GetEtag(), Title: map[string]string{"en": "Mine"}}})
		require.NoError(t, err)
		require.Equal(t, "Mine", mine.GetTitle()["en"])
		require.NotNil(t, mine.GetChart(), "what the mask does not name stays")
		_, err = h.DeleteSection(h.ctx, &pb.DeleteSectionRequest{Name: ours.GetName()})
		require.NoError(t, err)
		again, err := h.GetSection(h.ctx, &pb.GetSectionRequest{Name: ours.GetName()})
		require.NoError(t, err)
		require.Equal(t, ours.GetEtag(), again.GetEtag())
		_, err = h.DeleteSection(h.ctx, &pb.DeleteSectionRequest{Name: ours.GetName()})
		require.Equal(t, pb.ErrorReason_WRONG_STATE, reason(t, err))
		all, err := h.ListSections(h.ctx, &pb.ListSectionsRequest{PageSize: 5})
		require.NoError(t, err)
		require.Len(t, all.GetSections(), 5)
		require.NotEmpty(t, all.GetNextPageToken())
	})
}

func TestEditorsStayWithinTheirMarkets(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		sg := as("sg-editor", "SG")
		local := manual("Local")
		_, err := h.CreateSection(sg, &pb.CreateSectionRequest{SectionId: "local", Section: local})
		require.Equal(t, pb.ErrorReason_PERMISSION_DENIED, reason(t, err), "a section without targeting is shown everywhere")
		local.Targeting = &pb.Targeting{Markets: []string{"SG"}}
		made, err := h.CreateSection(sg, &pb.CreateSectionRequest{SectionId: "local", Section: local})
		require.NoError(t, err)
		_, err = h.UpdateSection(sg, &pb.UpdateSectionRequest{Section: &pb.Section{Name: made.GetName(), Etag: made.GetEtag(), Targeting: &pb.Targeting{Markets: []string{"SG", "US"}}}})
		require.Equal(t, pb.ErrorReason_PERMISSION_DENIED, reason(t, err))
		h.section("worldwide", manual("Worldwide"))
		_, err = h.DeleteSection(sg, &pb.DeleteSectionRequest{Name: "sections/worldwide"})
		require.Equal(t, pb.ErrorReason_PERMISSION_DENIED, reason(t, err))
		_, err = h.UpdateLayout(sg, &pb.UpdateLayoutRequest{Layout: &pb.Layout{Name: "layouts/front"}})
		require.Equal(t, pb.ErrorReason_PERMISSION_DENIED, reason(t, err))
		_, err = h.CreateRelease(sg, &pb.CreateReleaseRequest{ReleaseId: "r", Release: &pb.Release{Changes: []*pb.ReleaseChange{withLayout("front")}}})
		require.Equal(t, pb.ErrorReason_PERMISSION_DENIED, reason(t, err))
	})
}

func TestRequestIDMakesARetrySafe(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		req := &pb.CreateSectionRequest{SectionId: "once", Section: manual("Once"), RequestId: "7a0c8a3e-2f5e-4f0c-9a51-3d1a5c3d7f01"}
		first, err := h.CreateSection(h.ctx, req)
		require.NoError(t, err)
		again, err := h.CreateSection(h.ctx, req)
		require.NoError(t, err)
		require.Equal(t, first.GetRevision(), again.GetRevision())
		req.SectionId = "twice"
		_, err = h.CreateSection(h.ctx, req)
		require.Equal(t, pb.ErrorReason_REQUEST_ID_REUSED, reason(t, err))
	})
}
