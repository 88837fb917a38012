package catalog

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/changes"
	"github.com/aitheater/theater/internal/fault"
)

// within runs fn inside a write as another room would, and stores the change it gives.
func (h *house) within(fn func(w *changes.Writer) (*changes.Change, error)) error {
	_, _, err := changes.Write(h.ctx, h.log, changes.Call{Actor: "tester", Method: "theater.v1.CurationService/PublishRelease"}, func(w *changes.Writer) (*pb.Film, error) {
		put, err := fn(w)
		if put != nil {
			w.Put(*put)
		}
		return &pb.Film{}, err
	})
	return err
}

func TestChangeState(t *testing.T) {
	const draft, review, published, down = pb.Film_DRAFT, pb.Film_IN_REVIEW, pb.Film_PUBLISHED, pb.Film_TAKEN_DOWN
	onEachStore(t, func(t *testing.T, h *house) {
		f := h.film("a")
		to := func(state pb.Film_State) error {
			return h.within(func(w *changes.Writer) (*changes.Change, error) { return h.ChangeState(w, f.Name, state, "release") })
		}
		for _, state := range []pb.Film_State{published, published, draft, review, draft, published, review, published} {
			assert.Empty(t, h.CheckState(h.get(f.Name), state, noon), "%s", state)
			require.NoError(t, to(state))
			assert.Equal(t, state, h.get(f.Name).State)
			assert.Equal(t, state == published, h.seen(f.Name, "GB"))
		}
		require.NoError(t, to(down))
		assert.Equal(t, "release", h.get(f.Name).TakeDownReason)
		for _, state := range []pb.Film_State{draft, review, published} {
			assert.Equal(t, pb.ErrorReason_WRONG_STATE, reason(t, to(state)), "a release never reinstates")
			assert.Len(t, h.CheckState(h.get(f.Name), state, noon), 1)
		}
		assert.Equal(t, pb.ErrorReason_INVALID_FIELD, reason(t, to(0)))
		f = h.film("b", func(f *pb.Film) { f.Runtime, f.ContentType = nil, 0 })
		assert.Len(t, h.CheckState(f, published, noon), 2)
		assert.Len(t, fault.As(to(published)).Violations, 2)
		_, err := h.DeleteFilm(h.ctx, &pb.DeleteFilmRequest{Name: f.Name})
		require.NoError(t, err)
		assert.Equal(t, pb.ErrorReason_WRONG_STATE, reason(t, to(draft)))
		f.Name = "films/none"
		assert.Equal(t, pb.ErrorReason_FILM_NOT_FOUND, reason(t, to(draft)))
	})
}

func TestRestore(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		first := h.film("a", func(f *pb.Film) { f.Tags = []string{"first"} })
		body := h.shelf.Current().Film(first.Name).Body
		_, err := h.UpdateFilm(h.ctx, &pb.UpdateFilmRequest{Film: &pb.Film{Name: first.Name, Tags: []string{"second"}, AgeBand: pb.Film_AGE_18}})
		require.NoError(t, err)
		_, err = h.PublishFilm(h.ctx, &pb.PublishFilmRequest{Name: first.Name})
		require.NoError(t, err)
		down, err := h.TakeDownFilm(h.ctx, &pb.TakeDownFilmRequest{Name: first.Name, Markets: []string{"SG"}})
		require.NoError(t, err)
		restore := func(name string, body []byte, etag string) error {
			return h.within(func(w *changes.Writer) (*changes.Change, error) { return h.Restore(h.ctx, w, name, body, etag) })
		}
		assert.Equal(t, pb.ErrorReason_ETAG_MISMATCH, reason(t, restore(first.Name, body, first.Etag)))
		require.NoError(t, restore(first.Name, body, down.Film.Etag))
		now := h.get(first.Name)
		assert.Equal(t, []string{"first"}, now.Tags)
		assert.Equal(t, pb.Film_AGE_8, now.AgeBand)
		assert.Equal(t, pb.Film_PUBLISHED, now.State, "the state is not restored")
		assert.Equal(t, []string{"SG"}, now.TakenDownMarkets)
		assert.Equal(t, first.Uid, now.Uid)
		revision := h.shelf.Current().Revision()
		require.NoError(t, restore(first.Name, body, ""))
		assert.Equal(t, revision, h.shelf.Current().Revision(), "nothing differs, nothing is stored")
		assert.Equal(t, pb.ErrorReason_FILM_NOT_FOUND, reason(t, restore("films/none", body, "")))

		g := h.shelf.Current().Genre("genres/drama")
		_, err = h.UpdateGenre(h.ctx, &pb.UpdateGenreRequest{Genre: &pb.Genre{Name: g.Name, Children: true}})
		require.NoError(t, err)
		rows, err := h.log.Revisions(h.ctx, g.Name, 0, 2)
		require.NoError(t, err)
		require.Len(t, rows, 2)
		require.NoError(t, restore(g.Name, rows[1].Body, ""))
		assert.False(t, h.shelf.Current().Genre(g.Name).Children)
		assert.Equal(t, pb.ErrorReason_RESOURCE_NOT_FOUND, reason(t, restore("genres/none", rows[1].Body, "")))
	})
}

func TestP16OneAuditRowPerChange(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		entries := func() []*pb.AuditEntry {
			t.Helper()
			all, err := h.log.AuditAfter(h.ctx, 0, 1000)
			require.NoError(t, err)
			return all
		}
		before := len(entries())
		f := h.published("a") // and the genre
		_, err := h.UpdateFilm(h.ctx, &pb.UpdateFilmRequest{Film: &pb.Film{Name: f.Name, AgeBand: f.AgeBand}})
		require.NoError(t, err)
		_, err = h.PublishFilm(h.ctx, &pb.PublishFilmRequest{Name: f.Name})
		require.Error(t, err)
		_, err = h.WithdrawFilm(h.ctx, &pb.WithdrawFilmRequest{Name: f.Name, ValidateOnly: true})
		require.NoError(t, err)
		_, err = h.TakeDownFilm(h.ctx, &pb.TakeDownFilmRequest{Name: f.Name, Reason: "court order"})
		require.NoError(t, err)
		h.imports(&pb.ImportFilmsRequest{Films: []*pb.Film{named("films/b"), named("films/c"), {Name: "films/B"}, named("films/c")}})
		got := entries()[before:]
		methods := make([]string, len(got))
		for i, e := range got {
			methods[i] = e.Method[len(serviceName):] + " " + e.Resource
			assert.Equal(t, "tester", e.Actor)
			assert.NotEqual(t, e.HashBefore, e.HashAfter)
		}
		assert.Equal(t, []string{"CreateGenre genres/drama", "CreateFilm films/a", "PublishFilm films/a", "TakeDownFilm films/a", "ImportFilms films/b", "ImportFilms films/c"}, methods)
		assert.Equal(t, "court order", got[3].Note)
		n, err := h.log.VerifyAudit(h.ctx)
		require.NoError(t, err)
		assert.EqualValues(t, len(entries()), n)
	})
}
