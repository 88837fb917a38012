package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/aitheater/theater/api/theater/v1"
)

// desk is an editor who publishes and reverts releases, each of which titles two sections
// and publishes a film.
type desk struct {
	catalog   pb.CatalogServiceClient
	curation  pb.CurationServiceClient
	published map[string]bool // releases whose publishing was acknowledged
	reverted  map[string]bool // releases whose revert was acknowledged, or tried
}

func (d *desk) work(ctx context.Context, id string) error {
	film, err := d.catalog.CreateFilm(ctx, &pb.CreateFilmRequest{FilmId: id, Film: &pb.Film{
		DefaultLanguage: "en", Localizations: map[string]*pb.FilmLocalization{"en": {Title: id}}, ContentType: pb.Film_FILM, Runtime: durationpb.New(time.Hour),
		Availability: []*pb.Availability{{Markets: []string{"US"}}}, Provenance: &pb.Provenance{DigitalSourceType: "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"},
	}})
	if err != nil {
		return err
	}
	section := func(name string) *pb.ReleaseChange {
		return &pb.ReleaseChange{Change: &pb.ReleaseChange_Section{Section: &pb.Section{Name: name, Title: map[string]string{"en": id},
			Source: &pb.Section_Manual{Manual: &pb.ManualSource{Films: []string{film.GetName()}}}}}}
	}
	r, err := d.curation.CreateRelease(ctx, &pb.CreateReleaseRequest{ReleaseId: id, Release: &pb.Release{Changes: []*pb.ReleaseChange{
		section("sections/left"), section("sections/right"),
		{Change: &pb.ReleaseChange_FilmState{FilmState: &pb.FilmStateChange{Film: film.GetName(), State: pb.Film_PUBLISHED}}},
	}}})
	if err != nil {
		return err
	}
	if _, err := d.curation.PublishRelease(ctx, &pb.PublishReleaseRequest{Name: r.GetName()}); err != nil {
		return err
	}
	d.published[r.GetName()] = true
	if rand.IntN(2) == 0 {
		return nil
	}
	d.reverted[r.GetName()] = true
	_, err = d.curation.RevertRelease(ctx, &pb.RevertReleaseRequest{Name: r.GetName()})
	return err
}

// whole says what is half done: nothing may be.
func (d *desk) whole(t *testing.T) (releases int) {
	t.Helper()
	titles := map[string]string{}
	for _, name := range []string{"sections/left", "sections/right"} {
		if sec, err := d.curation.GetSection(t.Context(), &pb.GetSectionRequest{Name: name}); err == nil {
			titles[name] = sec.GetTitle()["en"]
		}
	}
	require.Equal(t, titles["sections/left"], titles["sections/right"], "one release left its mark on half of its sections")
	req := &pb.ListReleasesRequest{PageSize: 100}
	for {
		page, err := d.curation.ListReleases(t.Context(), req)
		require.NoError(t, err)
		for _, r := range page.GetReleases() {
			releases++
			film, err := d.catalog.GetFilm(t.Context(), &pb.GetFilmRequest{Name: "films/" + r.GetName()[len("releases/"):]})
			require.NoError(t, err)
			require.Equal(t, r.GetState() == pb.Release_PUBLISHED, film.GetState() == pb.Film_PUBLISHED, "%s is %s, its film %s", r.GetName(), r.GetState(), film.GetState())
			if d.published[r.GetName()] {
				require.True(t, r.GetState() == pb.Release_PUBLISHED || d.reverted[r.GetName()] && r.GetState() == pb.Release_REVERTED, "%s was acknowledged and is %s", r.GetName(), r.GetState())
			}
		}
		if req.PageToken = page.GetNextPageToken(); req.PageToken == "" {
			return releases
		}
	}
}

// A release is applied and reverted all or nothing, also when the process is killed in the
// middle.
func TestReleasesAreWholeAfterKill(t *testing.T) {
	t.Parallel()
	store := "sqlite:" + filepath.Join(t.TempDir(), "theater.db")
	d := &desk{published: map[string]bool{}, reverted: map[string]bool{}}
	releases := 0
	for round := range 5 {
		p := start(t, nil, "serve", "--store", store)
		conn := dialTo(t, p.addrs.GRPC)
		d.catalog, d.curation = pb.NewCatalogServiceClient(conn), pb.NewCurationServiceClient(conn)
		releases = d.whole(t)
		if round == 4 {
			code, _ := p.stop()
			require.Equal(t, exitOK, code)
			break
		}
		done := make(chan struct{})
		var worked atomic.Int64
		go func() {
			defer close(done)
			for d.work(context.Background(), fmt.Sprintf("r%d-n%d", round, worked.Load())) == nil {
				worked.Add(1)
			}
		}()
		require.True(t, eventuallyTrue(func() bool { return worked.Load() >= 2 }), "the editor gets something done")
		time.Sleep(rand.N(400 * time.Millisecond))
		p.kill()
		<-done
	}
	t.Logf("%d releases, %d acknowledged, all whole after 4 kills", releases, len(d.published))
}
