package catalog

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/theatertest"
)

func names(films []*pb.Film) (out []string) {
	for _, f := range films {
		out = append(out, f.Name)
	}
	return out
}

func TestGetAndBatchGet(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		a, b := h.film("a"), h.film("b")
		h.shelf.SetStats(map[string]*pb.FilmStats{a.Name: {Plays: 7, RatingCount: 3, RatingAverage: 4.5}})
		counted := h.get(a.Name)
		assert.EqualValues(t, 7, counted.Stats.Plays)
		assert.Equal(t, a.Etag, counted.Etag, "counts change neither etag nor revision")
		assert.Equal(t, a.Revision, counted.Revision)
		edited, err := h.UpdateFilm(h.ctx, &pb.UpdateFilmRequest{Film: &pb.Film{Name: a.Name, Etag: a.Etag, Tags: []string{"x"}}})
		require.NoError(t, err)
		assert.EqualValues(t, 7, edited.Stats.Plays, "every answer carries the counts")

		got, err := h.BatchGetFilms(h.ctx, &pb.BatchGetFilmsRequest{Names: []string{"films/none", b.Name, a.Name, b.Name}, View: pb.Film_BASIC})
		require.NoError(t, err)
		assert.Equal(t, []string{"films/b", "films/a", "films/b"}, names(got.Films))
		assert.Equal(t, []string{"films/none"}, got.MissingNames)
		assert.Len(t, got.Films[0].Localizations, 1)
		_, err = h.BatchGetFilms(h.ctx, &pb.BatchGetFilmsRequest{Names: []string{a.Name, "a"}})
		assert.Equal(t, "names[1]", fault.As(err).Fields[0].Path)

		_, err = h.GetFilm(h.ctx, &pb.GetFilmRequest{Name: "films/none"})
		assert.Equal(t, pb.ErrorReason_FILM_NOT_FOUND, reason(t, err))
		assert.NotContains(t, err.Error(), "none")
		_, err = h.GetFilm(h.ctx, &pb.GetFilmRequest{Name: "films/"})
		assert.Equal(t, "name", fault.As(err).Fields[0].Path)
	})
}

func TestListFilms(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		for i := range 25 {
			h.film(fmt.Sprintf("f%02d", i), func(f *pb.Film) {
				if i%5 == 0 {
					f.ContentType = pb.Film_ANIMATION
				}
			})
		}
		_, err := h.DeleteFilm(h.ctx, &pb.DeleteFilmRequest{Name: "films/f07"})
		require.NoError(t, err)
		page, err := h.ListFilms(h.ctx, &pb.ListFilmsRequest{})
		require.NoError(t, err)
		assert.Len(t, page.Films, 20)
		assert.EqualValues(t, 24, page.TotalSize)
		rest, err := h.ListFilms(h.ctx, &pb.ListFilmsRequest{PageToken: page.NextPageToken, PageSize: 3})
		require.NoError(t, err)
		assert.Equal(t, []string{"films/f21", "films/f22", "films/f23"}, names(rest.Films), "the size may change within a chain")
		last, err := h.ListFilms(h.ctx, &pb.ListFilmsRequest{PageToken: rest.NextPageToken, PageSize: 3})
		require.NoError(t, err)
		assert.Equal(t, []string{"films/f24"}, names(last.Films))
		assert.Empty(t, last.NextPageToken)
		assert.EqualValues(t, 24, last.TotalSize)

		all, err := h.ListFilms(h.ctx, &pb.ListFilmsRequest{ShowDeleted: true, PageSize: 1000})
		require.NoError(t, err)
		assert.Len(t, all.Films, 25)
		some, err := h.ListFilms(h.ctx, &pb.ListFilmsRequest{Filter: "content_type = ANIMATION", OrderBy: "update_time desc", PageSize: 100})
		require.NoError(t, err)
		assert.Equal(t, []string{"films/f20", "films/f15", "films/f10", "films/f05", "films/f00"}, names(some.Films))

		for what, req := range map[pb.ErrorReason]*pb.ListFilmsRequest{
			pb.ErrorReason_INVALID_FIELD:      {PageSize: -1},
			pb.ErrorReason_INVALID_FILTER:     {Filter: "nope = 1"},
			pb.ErrorReason_INVALID_ORDER_BY:   {OrderBy: "nope"},
			pb.ErrorReason_INVALID_PAGE_TOKEN: {PageToken: page.NextPageToken, ShowDeleted: true},
		} {
			_, err := h.ListFilms(h.ctx, req)
			assert.Equal(t, what, reason(t, err))
		}
		_, err = h.ListFilms(h.ctx, &pb.ListFilmsRequest{Filter: strings.Repeat("(", 17) + "state = DRAFT" + strings.Repeat(")", 17)})
		assert.Equal(t, pb.ErrorReason_INVALID_FILTER, reason(t, err))
		_, err = h.ListGenres(h.ctx, &pb.ListGenresRequest{PageToken: page.NextPageToken})
		assert.Equal(t, pb.ErrorReason_INVALID_PAGE_TOKEN, reason(t, err))
	})
}

// Films that are edited, deleted or created while someone pages make no other film come
// twice or not at all.
func TestListFilmsWhileFilmsChange(t *testing.T) {
	for _, order := range []string{"", "name desc", "update_time desc", "title"} {
		t.Run(order, func(t *testing.T) {
			h := open(t, theatertest.SQLite(t), "replica-1")
			for i := range 12 {
				h.film(fmt.Sprintf("f%02d", i))
			}
			seen := map[string]int{}
			req := &pb.ListFilmsRequest{PageSize: 3, OrderBy: order}
			touched := []string{}
			for pages := 0; ; pages++ {
				require.Less(t, pages, 10)
				page, err := h.ListFilms(h.ctx, req)
				require.NoError(t, err)
				for _, f := range page.Films {
					seen[f.Name]++
				}
				if page.NextPageToken == "" {
					break
				}
				req.PageToken = page.NextPageToken
				last := page.Films[len(page.Films)-1].Name
				touched = append(touched, last)
				if pages%2 == 0 {
					_, err = h.UpdateFilm(h.ctx, &pb.UpdateFilmRequest{Film: &pb.Film{Name: last, Tags: []string{"touched"}}})
				} else {
					_, err = h.DeleteFilm(h.ctx, &pb.DeleteFilmRequest{Name: last})
				}
				require.NoError(t, err)
			}
			for i := range 12 {
				name := fmt.Sprintf("films/f%02d", i)
				assert.Equal(t, 1, seen[name], "%s (touched: %v)", name, slices.Contains(touched, name))
			}
		})
	}
}

func TestTokensAreGoodOnEveryReplica(t *testing.T) {
	url := theatertest.Postgres(t)
	one, two := open(t, url, "replica-1"), open(t, url, "replica-2")
	for i := range 5 {
		one.film(fmt.Sprintf("f%d", i))
	}
	page, err := one.ListFilms(one.ctx, &pb.ListFilmsRequest{PageSize: 2})
	require.NoError(t, err)
	require.NoError(t, two.log.Wait(two.ctx, one.log.Applied(), 1e10))
	rest, err := two.ListFilms(two.ctx, &pb.ListFilmsRequest{PageToken: page.NextPageToken})
	require.NoError(t, err)
	assert.Equal(t, []string{"films/f2", "films/f3", "films/f4"}, names(rest.Films))
}

func TestGenres(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		g, err := h.CreateGenre(h.ctx, &pb.CreateGenreRequest{GenreId: "fairy-tale", Genre: &pb.Genre{DisplayNames: map[string]string{"en": "Fairy tale", "zh": "童话"}, Children: true}})
		require.NoError(t, err)
		assert.NotEmpty(t, g.Etag)
		_, err = h.CreateGenre(h.ctx, &pb.CreateGenreRequest{GenreId: "fairy-tale"})
		assert.Equal(t, pb.ErrorReason_ALREADY_EXISTS, reason(t, err))
		up, err := h.UpdateGenre(h.ctx, &pb.UpdateGenreRequest{Genre: &pb.Genre{Name: g.Name, Etag: g.Etag}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"children"}}})
		require.NoError(t, err)
		assert.False(t, up.Children)
		assert.Len(t, up.DisplayNames, 2)
		_, err = h.UpdateGenre(h.ctx, &pb.UpdateGenreRequest{Genre: &pb.Genre{Name: g.Name, Etag: g.Etag, Children: true}})
		assert.Equal(t, pb.ErrorReason_ETAG_MISMATCH, reason(t, err))
		same, err := h.UpdateGenre(h.ctx, &pb.UpdateGenreRequest{Genre: proto.CloneOf(up)})
		require.NoError(t, err)
		equal(t, up, same)
		_, err = h.UpdateGenre(h.ctx, &pb.UpdateGenreRequest{Genre: &pb.Genre{Name: "genres/none"}})
		assert.Equal(t, pb.ErrorReason_RESOURCE_NOT_FOUND, reason(t, err))
		_, err = h.CreateGenre(h.ctx, &pb.CreateGenreRequest{GenreId: "x", Genre: &pb.Genre{DisplayNames: map[string]string{"en": "\n"}}})
		assert.Equal(t, `genre.display_names["en"]`, fault.As(err).Fields[0].Path)

		for i := range 24 {
			h.genre(fmt.Sprintf("g%02d", i), false)
		}
		page, err := h.ListGenres(h.ctx, &pb.ListGenresRequest{})
		require.NoError(t, err)
		assert.Len(t, page.Genres, 20)
		assert.EqualValues(t, 25, page.TotalSize)
		rest, err := h.ListGenres(h.ctx, &pb.ListGenresRequest{PageToken: page.NextPageToken})
		require.NoError(t, err)
		assert.Len(t, rest.Genres, 5)
		assert.Empty(t, rest.NextPageToken)
	})
}
