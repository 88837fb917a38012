package app_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/app"
	"github.com/aitheater/theater/internal/sqldb"
	"github.com/aitheater/theater/internal/theatertest"
	"github.com/aitheater/theater/internal/theatertest/house"
)

// news is a field that only the next version knows.
var news = protowire.AppendVarint(protowire.AppendTag(nil, 1900, protowire.VarintType), 42)

// stored works on the newest stored body of each resource while no server runs.
func stored(t testing.TB, store string, names []string, do func(tx *sqldb.Tx, name string, revision int64, body []byte) error) {
	t.Helper()
	db, err := sqldb.Open(t.Context(), store)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	require.NoError(t, db.Write(t.Context(), func(tx *sqldb.Tx) error {
		for _, name := range names {
			var revision int64
			var body []byte
			row := tx.QueryRow("SELECT revision, body FROM changes_history WHERE name = $1 ORDER BY revision DESC LIMIT 1", name)
			if err := row.Scan(&revision, &body); err != nil {
				return err
			}
			if err := do(tx, name, revision, body); err != nil {
				return err
			}
		}
		return nil
	}))
}

// What the next version has written into a resource is still there after this one has
// changed something else in it: rolling back and forward again loses nothing.
func TestP18_FieldsOfTheNextVersionSurviveThisOne(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	store := theatertest.SQLite(t)
	h := house.Start(t, app.Config{Store: store})
	load(t, h, feature("a"))
	_, err := h.Catalog.CreateGenre(ctx, &pb.CreateGenreRequest{GenreId: "g", Genre: &pb.Genre{DisplayNames: map[string]string{"en": "G"}}})
	require.NoError(t, err)
	_, err = h.Charts.CreateChart(ctx, &pb.CreateChartRequest{ChartId: "c", Chart: &pb.Chart{Kind: pb.Chart_NEW, Title: map[string]string{"en": "C"}}})
	require.NoError(t, err)
	_, err = h.Curation.CreateSection(ctx, &pb.CreateSectionRequest{SectionId: "s", Section: &pb.Section{
		Title: map[string]string{"en": "S"}, Source: &pb.Section_Manual{Manual: &pb.ManualSource{Films: []string{"films/a"}}}}})
	require.NoError(t, err)
	_, err = h.Curation.CreateRelease(ctx, &pb.CreateReleaseRequest{ReleaseId: "r", Release: &pb.Release{Title: "R"}})
	require.NoError(t, err)
	h.Stop()
	names := []string{"films/a", "genres/g", "charts/c", "sections/s", "releases/r"}
	before := map[string]int64{}
	stored(t, store, names, func(tx *sqldb.Tx, name string, revision int64, body []byte) error {
		before[name] = revision
		_, err := tx.Exec("UPDATE changes_history SET body = $1 WHERE name = $2 AND revision = $3", append(body, news...), name, revision)
		return err
	})

	h.Restart()
	_, err = h.Catalog.UpdateFilm(ctx, &pb.UpdateFilmRequest{Film: &pb.Film{Name: "films/a", Tags: []string{"t"}}, UpdateMask: mask("tags")})
	require.NoError(t, err)
	_, err = h.Catalog.WithdrawFilm(ctx, &pb.WithdrawFilmRequest{Name: "films/a"})
	require.NoError(t, err)
	_, err = h.Catalog.UpdateGenre(ctx, &pb.UpdateGenreRequest{Genre: &pb.Genre{Name: "genres/g", DisplayNames: map[string]string{"en": "GG"}}, UpdateMask: mask("display_names")})
	require.NoError(t, err)
	_, err = h.Charts.UpdateChart(ctx, &pb.UpdateChartRequest{Chart: &pb.Chart{Name: "charts/c", Title: map[string]string{"en": "CC"}}, UpdateMask: mask("title")})
	require.NoError(t, err)
	section, err := h.Curation.GetSection(ctx, &pb.GetSectionRequest{Name: "sections/s"})
	require.NoError(t, err)
	_, err = h.Curation.UpdateSection(ctx, &pb.UpdateSectionRequest{Section: &pb.Section{Name: "sections/s", Etag: section.GetEtag(), Title: map[string]string{"en": "SS"}}, UpdateMask: mask("title")})
	require.NoError(t, err)
	release, err := h.Curation.GetRelease(ctx, &pb.GetReleaseRequest{Name: "releases/r"})
	require.NoError(t, err)
	_, err = h.Curation.UpdateRelease(ctx, &pb.UpdateReleaseRequest{Release: &pb.Release{Name: "releases/r", Etag: release.GetEtag(), Title: "RR"}, UpdateMask: mask("title")})
	require.NoError(t, err)
	h.Stop()
	kinds := map[string]proto.Message{"films/a": &pb.Film{}, "genres/g": &pb.Genre{}, "charts/c": &pb.Chart{}, "sections/s": &pb.Section{}, "releases/r": &pb.Release{}}
	stored(t, store, names, func(_ *sqldb.Tx, name string, revision int64, body []byte) error {
		require.Greater(t, revision, before[name], name)
		require.NoError(t, proto.Unmarshal(body, kinds[name]), name)
		require.Equal(t, news, []byte(kinds[name].ProtoReflect().GetUnknown()), name)
		return nil
	})
}
