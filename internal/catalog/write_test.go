package catalog

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/theatertest"
)

func TestCreateFilm(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		h.genre("drama", false)
		sent := lantern()
		sent.Name, sent.Uid, sent.State, sent.Revision, sent.Form = "films/lantern", "mine", pb.Film_PUBLISHED, 99, pb.Film_SHORT
		sent.Awards, sent.Stats, sent.CreateTime = []*pb.Award{{Prize: "first"}}, &pb.FilmStats{Plays: 5}, timestamppb.New(noon)
		got, err := h.CreateFilm(h.ctx, &pb.CreateFilmRequest{FilmId: "lantern", Film: sent})
		require.NoError(t, err)
		assert.Equal(t, "films/lantern", got.Name)
		assert.Equal(t, pb.Film_DRAFT, got.State)
		assert.Equal(t, pb.Film_FEATURE, got.Form)
		assert.NotEqual(t, "mine", got.Uid)
		assert.NoError(t, uuid.Validate(got.Uid))
		assert.Empty(t, got.Awards)
		assert.NotEmpty(t, got.Etag)
		assert.Positive(t, got.Revision)
		assert.WithinDuration(t, time.Now(), got.CreateTime.AsTime(), time.Minute)
		assert.Nil(t, got.FirstPublishTime)
		equal(t, &pb.FilmStats{}, got.Stats)
		assert.Equal(t, lantern().Localizations["zh-Hans"].Synopsis, got.Localizations["zh-Hans"].Synopsis)
		equal(t, got, h.get("films/lantern"))

		_, err = h.CreateFilm(h.ctx, &pb.CreateFilmRequest{FilmId: "lantern", Film: lantern()})
		assert.Equal(t, pb.ErrorReason_ALREADY_EXISTS, reason(t, err))
		_, err = h.DeleteFilm(h.ctx, &pb.DeleteFilmRequest{Name: "films/lantern"})
		require.NoError(t, err)
		_, err = h.CreateFilm(h.ctx, &pb.CreateFilmRequest{FilmId: "lantern", Film: lantern()})
		assert.Equal(t, pb.ErrorReason_ALREADY_EXISTS, reason(t, err), "the id of a deleted film stays taken")

		empty, err := h.CreateFilm(h.ctx, &pb.CreateFilmRequest{FilmId: "nothing-yet"})
		require.NoError(t, err)
		assert.Equal(t, pb.Film_FORM_UNSPECIFIED, empty.Form)

		for id, path := range map[string]string{"": "film_id", "A": "film_id", "a-": "film_id", "1a": "film_id", strings.Repeat("a", 64): "film_id", "films/a": "film_id", "b": "film.name"} {
			_, err := h.CreateFilm(h.ctx, &pb.CreateFilmRequest{FilmId: id, Film: sent})
			e := fault.As(err)
			require.NotNil(t, e, id)
			assert.Equal(t, path, e.Fields[0].Path, id)
		}
	})
}

func TestBadInputStoresNothing(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		h.genre("drama", false)
		before := h.shelf.Current().Revision()
		for _, c := range badFilms {
			f := lantern()
			c.spoil(f)
			_, err := h.CreateFilm(h.ctx, &pb.CreateFilmRequest{FilmId: "bad", Film: f})
			assert.Equal(t, pb.ErrorReason_INVALID_FIELD, reason(t, err), c.name)
			f.Name = "films/bad"
			result := h.imports(&pb.ImportFilmsRequest{Films: []*pb.Film{f}})[0]
			assert.Equal(t, pb.ImportResult_REJECTED, result.Outcome, c.name)
			assert.True(t, strings.HasPrefix(result.Status.GetMessage(), "film."), result.Status.GetMessage())
		}
		assert.Nil(t, h.shelf.Current().Film("films/bad"))
		h.genre("after", false)
		assert.Equal(t, before+1, h.shelf.Current().Revision())
	})
}

func TestUpdateFilm(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		f := h.film("a")
		got, err := h.UpdateFilm(h.ctx, &pb.UpdateFilmRequest{Film: &pb.Film{Name: f.Name, Tags: []string{"night"}, State: pb.Film_PUBLISHED}})
		require.NoError(t, err)
		assert.Equal(t, []string{"night"}, got.Tags)
		assert.Equal(t, f.Runtime.AsDuration(), got.Runtime.AsDuration(), "what is not set is left alone")
		assert.Equal(t, pb.Film_DRAFT, got.State)
		assert.NotEqual(t, f.Etag, got.Etag)
		assert.Greater(t, got.Revision, f.Revision)
		assert.Equal(t, f.Uid, got.Uid)
		equal(t, f.CreateTime, got.CreateTime)
		equal(t, got, h.get(f.Name))

		same, err := h.UpdateFilm(h.ctx, &pb.UpdateFilmRequest{Film: &pb.Film{Name: f.Name, Tags: []string{"night"}}})
		require.NoError(t, err)
		equal(t, got, same)

		_, err = h.UpdateFilm(h.ctx, &pb.UpdateFilmRequest{Film: &pb.Film{Name: f.Name, Etag: f.Etag, Tags: []string{"day"}}})
		require.Equal(t, pb.ErrorReason_ETAG_MISMATCH, reason(t, err))
		assert.Equal(t, got.Etag, fault.As(err).Metadata["etag"])

		short, err := h.UpdateFilm(h.ctx, &pb.UpdateFilmRequest{
			Film:       &pb.Film{Name: f.Name, Etag: got.Etag, Runtime: durationpb.New(899 * time.Second), Tags: []string{"ignored"}},
			UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"runtime", "localizations"}}})
		require.NoError(t, err)
		assert.Equal(t, pb.Film_SHORT, short.Form)
		assert.Equal(t, []string{"night"}, short.Tags)
		assert.Empty(t, short.Localizations)

		// The rules look at the film as it would be, not at the request.
		_, err = h.UpdateFilm(h.ctx, &pb.UpdateFilmRequest{Film: &pb.Film{Name: f.Name, Runtime: durationpb.New(0)}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"tags"}}})
		assert.NoError(t, err)

		_, err = h.UpdateFilm(h.ctx, &pb.UpdateFilmRequest{Film: &pb.Film{Name: f.Name}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"localizations.en"}}})
		assert.Equal(t, "update_mask", fault.As(err).Fields[0].Path)
		_, err = h.UpdateFilm(h.ctx, &pb.UpdateFilmRequest{Film: &pb.Film{Name: "films/none"}})
		assert.Equal(t, pb.ErrorReason_FILM_NOT_FOUND, reason(t, err))
		_, err = h.UpdateFilm(h.ctx, &pb.UpdateFilmRequest{})
		assert.Equal(t, "film.name", fault.As(err).Fields[0].Path)
		_, err = h.DeleteFilm(h.ctx, &pb.DeleteFilmRequest{Name: f.Name})
		require.NoError(t, err)
		_, err = h.UpdateFilm(h.ctx, &pb.UpdateFilmRequest{Film: &pb.Film{Name: f.Name, Tags: []string{"x"}}})
		assert.Equal(t, pb.ErrorReason_WRONG_STATE, reason(t, err))
	})
}

func TestUpdateOfAPublishedFilmKeepsTheRules(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		f := h.published("a")
		assert.NotNil(t, f.FirstPublishTime)
		_, err := h.UpdateFilm(h.ctx, &pb.UpdateFilmRequest{Film: &pb.Film{Name: f.Name}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"content_type", "runtime"}}})
		require.Equal(t, pb.ErrorReason_NOT_PUBLISHABLE, reason(t, err))
		assert.Len(t, fault.As(err).Violations, 2)
		equal(t, f, h.get(f.Name))
		_, err = h.UpdateLocalization(h.ctx, &pb.UpdateLocalizationRequest{Name: f.Name, Language: "EN"})
		assert.Equal(t, pb.ErrorReason_NOT_PUBLISHABLE, reason(t, err), "the default language's title cannot go")
	})
}

func TestUpdateLocalization(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		f := h.film("a")
		got, err := h.UpdateLocalization(h.ctx, &pb.UpdateLocalizationRequest{Name: f.Name, Language: "ZH-hans", Localization: &pb.FilmLocalization{Title: "灯"}, Etag: f.Etag})
		require.NoError(t, err)
		assert.Equal(t, "灯", got.Localizations["zh-Hans"].GetTitle(), "the key as it was first given")
		assert.Len(t, got.Localizations, 2)
		assert.Equal(t, "The Lantern", got.Localizations["en"].Title)
		got, err = h.UpdateLocalization(h.ctx, &pb.UpdateLocalizationRequest{Name: f.Name, Language: "fr", Localization: &pb.FilmLocalization{Title: "La lanterne"}})
		require.NoError(t, err)
		assert.Len(t, got.Localizations, 3)
		got, err = h.UpdateLocalization(h.ctx, &pb.UpdateLocalizationRequest{Name: f.Name, Language: "FR"})
		require.NoError(t, err)
		assert.Len(t, got.Localizations, 2)
		for path, req := range map[string]*pb.UpdateLocalizationRequest{
			"language":           {Name: f.Name, Language: "en_US", Localization: &pb.FilmLocalization{Title: "X"}},
			"localization.title": {Name: f.Name, Language: "fr", Localization: &pb.FilmLocalization{}},
			"name":               {Name: "films/", Language: "fr"},
		} {
			_, err := h.UpdateLocalization(h.ctx, req)
			require.NotNil(t, fault.As(err), path)
			assert.Equal(t, path, fault.As(err).Fields[0].Path)
		}
		_, err = h.UpdateLocalization(h.ctx, &pb.UpdateLocalizationRequest{Name: f.Name, Language: "fr", Localization: &pb.FilmLocalization{Title: "X"}, Etag: f.Etag})
		assert.Equal(t, pb.ErrorReason_ETAG_MISMATCH, reason(t, err))
	})
}

func TestStates(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		f := h.film("a")
		step := func(got *pb.Film, err error) *pb.Film {
			t.Helper()
			require.NoError(t, err)
			equal(t, got, h.get(f.Name))
			return got
		}
		assert.Equal(t, pb.Film_IN_REVIEW, step(h.SubmitFilm(h.ctx, &pb.SubmitFilmRequest{Name: f.Name})).State)
		assert.Equal(t, pb.Film_DRAFT, step(h.ReturnFilm(h.ctx, &pb.ReturnFilmRequest{Name: f.Name})).State)
		step(h.SubmitFilm(h.ctx, &pb.SubmitFilmRequest{Name: f.Name}))
		assert.False(t, h.seen(f.Name, "GB"))
		assert.Equal(t, pb.Film_PUBLISHED, step(h.PublishFilm(h.ctx, &pb.PublishFilmRequest{Name: f.Name})).State)
		assert.True(t, h.seen(f.Name, "GB"))
		_, err := h.PublishFilm(h.ctx, &pb.PublishFilmRequest{Name: f.Name})
		assert.Equal(t, pb.ErrorReason_WRONG_STATE, reason(t, err))
		step(h.WithdrawFilm(h.ctx, &pb.WithdrawFilmRequest{Name: f.Name}))
		assert.False(t, h.seen(f.Name, "GB"))
		step(h.PublishFilm(h.ctx, &pb.PublishFilmRequest{Name: f.Name}))

		down, err := h.TakeDownFilm(h.ctx, &pb.TakeDownFilmRequest{Name: f.Name, Reason: "complaint", Markets: []string{"SG"}})
		require.NoError(t, err)
		assert.Equal(t, pb.Film_PUBLISHED, down.Film.State)
		assert.False(t, h.seen(f.Name, "SG"))
		assert.True(t, h.seen(f.Name, "GB"))
		down, err = h.TakeDownFilm(h.ctx, &pb.TakeDownFilmRequest{Name: f.Name, Reason: "court order"})
		require.NoError(t, err)
		assert.Equal(t, pb.Film_TAKEN_DOWN, down.Film.State)
		assert.Equal(t, "court order", down.Film.TakeDownReason)
		assert.Equal(t, down.Film.Revision, down.Revision)
		assert.EqualValues(t, 1, down.ConfirmedReplicas)
		assert.Zero(t, down.PendingReplicas)
		assert.False(t, h.seen(f.Name, "GB"))
		again, err := h.TakeDownFilm(h.ctx, &pb.TakeDownFilmRequest{Name: f.Name})
		require.NoError(t, err)
		assert.Equal(t, down.Revision, again.Revision)
		back := step(h.ReinstateFilm(h.ctx, &pb.ReinstateFilmRequest{Name: f.Name}))
		assert.True(t, h.seen(f.Name, "SG"))
		assert.Equal(t, back.FirstPublishTime.AsTime(), h.get(f.Name).FirstPublishTime.AsTime())

		step(h.DeleteFilm(h.ctx, &pb.DeleteFilmRequest{Name: f.Name}))
		assert.False(t, h.seen(f.Name, "GB"))
		assert.Equal(t, pb.Film_DRAFT, step(h.UndeleteFilm(h.ctx, &pb.UndeleteFilmRequest{Name: f.Name})).State)
		_, err = h.UndeleteFilm(h.ctx, &pb.UndeleteFilmRequest{Name: f.Name})
		assert.Equal(t, pb.ErrorReason_ALREADY_EXISTS, reason(t, err))
		_, err = h.SubmitFilm(h.ctx, &pb.SubmitFilmRequest{Name: f.Name, Etag: "old"})
		assert.Equal(t, pb.ErrorReason_ETAG_MISMATCH, reason(t, err))
	})
}

func TestPublishFilmNamesEveryRule(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		f := h.film("a", func(f *pb.Film) { f.Runtime, f.ContentType, f.Provenance, f.DefaultLanguage = nil, 0, nil, "fr" })
		for _, only := range []bool{true, false} {
			_, err := h.PublishFilm(h.ctx, &pb.PublishFilmRequest{Name: f.Name, ValidateOnly: only})
			require.Equal(t, pb.ErrorReason_NOT_PUBLISHABLE, reason(t, err))
			assert.Len(t, fault.As(err).Violations, 4)
		}
		ready := h.film("b")
		got, err := h.PublishFilm(h.ctx, &pb.PublishFilmRequest{Name: ready.Name, ValidateOnly: true})
		require.NoError(t, err)
		assert.Equal(t, pb.Film_PUBLISHED, got.State, "the answer it would give")
		equal(t, ready, h.get(ready.Name))
	})
}

func TestValidateOnlyStoresNothing(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		h.genre("drama", false)
		f, err := h.CreateFilm(h.ctx, &pb.CreateFilmRequest{FilmId: "a", Film: lantern(), ValidateOnly: true, RequestId: uuid.NewString()})
		require.NoError(t, err)
		assert.Equal(t, pb.Film_FEATURE, f.Form)
		_, err = h.GetFilm(h.ctx, &pb.GetFilmRequest{Name: "films/a"})
		assert.Equal(t, pb.ErrorReason_FILM_NOT_FOUND, reason(t, err))
		results := h.imports(&pb.ImportFilmsRequest{Films: []*pb.Film{named("films/b"), {Name: "films/B"}}, ValidateOnly: true, Publish: true})
		assert.Equal(t, pb.ImportResult_CREATED, results[0].Outcome)
		assert.Equal(t, pb.ImportResult_REJECTED, results[1].Outcome)
		assert.Nil(t, h.shelf.Current().Film("films/b"))
		p := h.published("c")
		resp, err := h.TakeDownFilm(h.ctx, &pb.TakeDownFilmRequest{Name: p.Name, ValidateOnly: true})
		require.NoError(t, err)
		assert.Equal(t, pb.Film_TAKEN_DOWN, resp.Film.State)
		assert.True(t, h.seen(p.Name, "GB"))
	})
}

func TestRequestIDsAreRememberedAcrossRestarts(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		h := open(t, url, "replica-1")
		h.genre("drama", false)
		req := &pb.CreateFilmRequest{FilmId: "a", Film: lantern(), RequestId: uuid.NewString()}
		first, err := h.CreateFilm(h.ctx, req)
		require.NoError(t, err)
		publish := &pb.PublishFilmRequest{Name: first.Name, RequestId: uuid.NewString()}
		out, err := h.PublishFilm(h.ctx, publish)
		require.NoError(t, err)
		h.end()

		h = open(t, url, "replica-2")
		again, err := h.CreateFilm(h.ctx, proto.CloneOf(req))
		require.NoError(t, err)
		equal(t, first, again)
		other := proto.CloneOf(req)
		other.FilmId = "b"
		_, err = h.CreateFilm(h.ctx, other)
		assert.Equal(t, pb.ErrorReason_REQUEST_ID_REUSED, reason(t, err))
		repeated, err := h.PublishFilm(h.ctx, publish)
		require.NoError(t, err, "not WRONG_STATE: it is the same call")
		equal(t, out, repeated)

		failed := &pb.PublishFilmRequest{Name: "films/none", RequestId: uuid.NewString()}
		_, err = h.PublishFilm(h.ctx, failed)
		require.Equal(t, pb.ErrorReason_FILM_NOT_FOUND, reason(t, err))
		h.film("none")
		_, err = h.PublishFilm(h.ctx, failed)
		assert.NoError(t, err, "only successes are remembered")
	})
}

// named is a lantern with a name.
func named(name string) *pb.Film {
	f := lantern()
	f.Name = name
	return f
}
