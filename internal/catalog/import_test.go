package catalog

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"pgregory.net/rapid"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/theatertest"
)

const (
	created   = pb.ImportResult_CREATED
	updated   = pb.ImportResult_UPDATED
	unchanged = pb.ImportResult_UNCHANGED
	rejected  = pb.ImportResult_REJECTED
)

func statusReason(t *testing.T, r *pb.ImportResult) string {
	t.Helper()
	require.NotNil(t, r.Status)
	info := &errdetails.ErrorInfo{}
	require.NoError(t, r.Status.Details[0].UnmarshalTo(info))
	return info.Reason
}

func TestImportFilms(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		batch := func() *pb.ImportFilmsRequest {
			unready := named("films/b")
			unready.Runtime = nil
			opera := named("films/c")
			opera.Genres = []string{"space-opera"}
			bad := named("films/d")
			bad.Localizations["en"].Title = "\t"
			return &pb.ImportFilmsRequest{Films: []*pb.Film{named("films/a"), unready, opera, bad, named("d"), nil}, Publish: true, CreateGenres: true}
		}
		results := h.imports(batch())
		require.Len(t, results, 6)
		for i, want := range []struct {
			name      string
			outcome   pb.ImportResult_Outcome
			published bool
			code      code.Code
		}{
			{"films/a", created, true, code.Code_OK}, {"films/b", created, false, code.Code_FAILED_PRECONDITION}, {"films/c", created, true, code.Code_OK},
			{"films/d", rejected, false, code.Code_INVALID_ARGUMENT}, {"d", rejected, false, code.Code_INVALID_ARGUMENT}, {"", rejected, false, code.Code_INVALID_ARGUMENT},
		} {
			assert.Equal(t, want.name, results[i].Name)
			assert.Equal(t, want.outcome, results[i].Outcome, want.name)
			assert.Equal(t, want.published, results[i].Published, want.name)
			assert.EqualValues(t, want.code, results[i].Status.GetCode(), want.name)
		}
		assert.Equal(t, "NOT_PUBLISHABLE", statusReason(t, results[1]))
		assert.Equal(t, pb.Film_PUBLISHED, h.get("films/a").State, "the end of the stream waits for this replica")
		assert.Equal(t, pb.Film_DRAFT, h.get("films/b").State)
		assert.Nil(t, h.shelf.Current().Film("films/d"))
		assert.Equal(t, "Space opera", h.shelf.Current().Genre("genres/space-opera").GetDisplayNames()["en"])
		assert.Equal(t, h.get("films/a").Revision, h.get("films/c").Revision, "one batch, one revision")

		revision := h.shelf.Current().Revision()
		again := h.imports(batch())
		assert.Equal(t, unchanged, again[0].Outcome)
		assert.True(t, again[0].Published)
		assert.Equal(t, unchanged, again[1].Outcome)
		assert.Equal(t, "NOT_PUBLISHABLE", statusReason(t, again[1]))
		assert.Equal(t, unchanged, again[2].Outcome)
		h.genre("after", false)
		assert.Equal(t, revision+1, h.shelf.Current().Revision(), "UNCHANGED stores nothing")

		results = h.imports(&pb.ImportFilmsRequest{Films: []*pb.Film{{Name: "films/b", Runtime: lantern().Runtime}}, Publish: true})
		assert.Equal(t, updated, results[0].Outcome)
		assert.True(t, results[0].Published)
		assert.True(t, h.seen("films/b", "GB"))
		results = h.imports(&pb.ImportFilmsRequest{Films: []*pb.Film{{Name: "films/x", Genres: []string{"opera"}}}})
		assert.Equal(t, "INVALID_FIELD", statusReason(t, results[0]), "genres are not made unless asked")

		results = h.imports(&pb.ImportFilmsRequest{Films: []*pb.Film{{Name: "films/a", Etag: "old", Tags: []string{"x"}}}})
		assert.Equal(t, "ETAG_MISMATCH", statusReason(t, results[0]))
		assert.True(t, results[0].Published)
	})
}

func TestImportKeepsThePublishedFilmsRules(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		h.published("a")
		results := h.imports(&pb.ImportFilmsRequest{Films: []*pb.Film{{Name: "films/a"}}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"runtime"}}})
		assert.Equal(t, rejected, results[0].Outcome)
		assert.True(t, results[0].Published)
		assert.Equal(t, "NOT_PUBLISHABLE", statusReason(t, results[0]))
		assert.NotNil(t, h.get("films/a").Runtime)
	})
}

func TestImportOfOneFilmTwiceInABatch(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		h.genre("drama", false)
		first, second := named("films/a"), &pb.Film{Name: "films/a", Tags: []string{"late"}}
		results := h.imports(&pb.ImportFilmsRequest{Films: []*pb.Film{first, second, second}})
		assert.Equal(t, []pb.ImportResult_Outcome{created, updated, unchanged}, []pb.ImportResult_Outcome{results[0].Outcome, results[1].Outcome, results[2].Outcome})
		got := h.get("films/a")
		assert.Equal(t, []string{"late"}, got.Tags)
		assert.NotNil(t, got.Runtime)
		equal(t, got.CreateTime, got.UpdateTime)
	})
}

func TestImportRefusesWholeBatches(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		for path, req := range map[string]*pb.ImportFilmsRequest{
			"films":       {Films: make([]*pb.Film, 501)},
			"update_mask": {UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"localizations.en"}}},
		} {
			err := h.ImportFilms(&importStream{ctx: h.ctx, in: []*pb.ImportFilmsRequest{req}})
			require.NotNil(t, fault.As(err), path)
			assert.Equal(t, path, fault.As(err).Fields[0].Path)
		}
		assert.Empty(t, h.imports(&pb.ImportFilmsRequest{}))
	})
}

func TestImportKeepsWhatPeopleDecided(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		cleared := func(f *pb.Film) {
			f.MinorsReview = &pb.MinorsReview{Reviewer: "Li Dan", AgeBand: pb.Film_AGE_3}
			f.Licenses = []*pb.License{{Market: "CN", Kind: "online-film", Number: "1"}}
			f.Provenance.AigcLabel = &pb.AigcLabel{Raw: []byte(`{"AIGC":{"Label":"1"}}`)}
			f.Provenance.C2Pa = &pb.C2PaManifest{ManifestHash: "abc"}
		}
		stored := h.film("a", cleared)
		kept := func(mask ...string) *pb.Film {
			t.Helper()
			sent := named("films/a")
			sent.Tags = []string{fmt.Sprint(mask)}
			req := &pb.ImportFilmsRequest{Films: []*pb.Film{sent}}
			if len(mask) > 0 {
				req.UpdateMask = &fieldmaskpb.FieldMask{Paths: mask}
			}
			assert.NotEqual(t, rejected, h.imports(req)[0].Outcome)
			return h.get("films/a")
		}
		for _, mask := range [][]string{nil, {"*"}, {"provenance"}} {
			f := kept(mask...)
			equal(t, stored.MinorsReview, f.MinorsReview)
			equal(t, stored.Licenses[0], f.Licenses[0])
			equal(t, stored.Provenance, f.Provenance)
		}
		f := kept("minors_review", "licenses")
		assert.Nil(t, f.MinorsReview)
		assert.Empty(t, f.Licenses)
		assert.NotNil(t, f.Provenance.AigcLabel)
	})
}

func TestImportNeverResurrects(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		h.published("down")
		h.published("gone")
		h.published("partly")
		_, err := h.TakeDownFilm(h.ctx, &pb.TakeDownFilmRequest{Name: "films/down", Reason: "why"})
		require.NoError(t, err)
		_, err = h.DeleteFilm(h.ctx, &pb.DeleteFilmRequest{Name: "films/gone"})
		require.NoError(t, err)
		_, err = h.TakeDownFilm(h.ctx, &pb.TakeDownFilmRequest{Name: "films/partly", Markets: []string{"GB"}})
		require.NoError(t, err)
		for _, mask := range []*fieldmaskpb.FieldMask{nil, {Paths: []string{"*"}}, {Paths: []string{"state", "delete_time", "taken_down_markets", "tags"}}} {
			req := &pb.ImportFilmsRequest{Publish: true, UpdateMask: mask}
			for _, name := range []string{"films/down", "films/gone", "films/partly"} {
				f := named(name)
				f.State, f.Tags = pb.Film_PUBLISHED, []string{fmt.Sprint(mask)}
				req.Films = append(req.Films, f)
			}
			results := h.imports(req)
			for i, want := range []bool{false, false, true} {
				assert.Equal(t, updated, results[i].Outcome)
				assert.Equal(t, want, results[i].Published)
			}
			assert.Equal(t, "WRONG_STATE", statusReason(t, results[0]))
			assert.Equal(t, "WRONG_STATE", statusReason(t, results[1]))
			assert.Equal(t, pb.Film_TAKEN_DOWN, h.get("films/down").State)
			assert.NotNil(t, h.get("films/gone").DeleteTime)
			assert.False(t, h.seen("films/down", "GB") || h.seen("films/gone", "GB") || h.seen("films/partly", "GB"))
			assert.True(t, h.seen("films/partly", "SG"))
		}
	})
}

// Whatever is imported, in whatever order, a film that was taken down or deleted stays so, and
// what was not imported keeps its bytes.
func TestImportNeverResurrectsProperty(t *testing.T) {
	h := open(t, theatertest.SQLite(t), "replica-1")
	h.genre("drama", false)
	n := 0
	checks(t, 30)
	rapid.Check(t, func(rt *rapid.T) {
		n++
		name := fmt.Sprintf("films/f%d", n)
		film := rapid.Custom(func(rt *rapid.T) *pb.Film {
			f := named(name)
			f.State = pb.Film_State(rapid.Int32Range(0, 4).Draw(rt, "state"))
			f.Tags = rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]`), 0, 3, rapid.ID).Draw(rt, "tags")
			f.AgeBand = pb.Film_AgeBand(rapid.Int32Range(0, 6).Draw(rt, "band"))
			if rapid.Bool().Draw(rt, "not ready") {
				f.Runtime = nil
			}
			return f
		})
		mask := rapid.SampledFrom([]*fieldmaskpb.FieldMask{nil, {Paths: []string{"*"}}, {Paths: []string{"tags", "state"}}, {Paths: []string{"runtime", "age_band"}}})
		send := func() *pb.ImportResult {
			return h.imports(&pb.ImportFilmsRequest{Films: []*pb.Film{film.Draw(rt, "film")}, UpdateMask: mask.Draw(rt, "mask"), Publish: rapid.Bool().Draw(rt, "publish")})[0]
		}
		send()
		if h.get(name).State != pb.Film_PUBLISHED {
			if _, err := h.UpdateFilm(h.ctx, &pb.UpdateFilmRequest{Film: named(name)}); err != nil {
				rt.Fatal(err)
			}
			if _, err := h.PublishFilm(h.ctx, &pb.PublishFilmRequest{Name: name}); err != nil {
				rt.Fatal(err)
			}
		}
		deleted := rapid.Bool().Draw(rt, "deleted")
		var err error
		if deleted {
			_, err = h.DeleteFilm(h.ctx, &pb.DeleteFilmRequest{Name: name})
		} else {
			_, err = h.TakeDownFilm(h.ctx, &pb.TakeDownFilmRequest{Name: name})
		}
		if err != nil {
			rt.Fatal(err)
		}
		for range rapid.IntRange(1, 4).Draw(rt, "imports") {
			before := h.get(name)
			result := send()
			after := h.get(name)
			if result.Published || h.seen(name, "GB") || deleted != (after.DeleteTime != nil) || !deleted && after.State != pb.Film_TAKEN_DOWN {
				rt.Fatalf("%v came back: %v", name, after)
			}
			if result.Outcome == unchanged && !proto.Equal(before, after) || result.Outcome != unchanged && before.Etag == after.Etag {
				rt.Fatalf("%v: %v\n%v", result.Outcome, before, after)
			}
		}
	})
}
