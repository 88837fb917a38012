package curation_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/catalog"
	"github.com/aitheater/theater/internal/changes"
	"github.com/aitheater/theater/internal/curation"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/generations"
	"github.com/aitheater/theater/internal/listing"
	"github.com/aitheater/theater/internal/rank"
	"github.com/aitheater/theater/internal/shelf"
	"github.com/aitheater/theater/internal/sqldb"
	"github.com/aitheater/theater/internal/theatertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// house is one replica: the rooms an editor meets, over a real database.
type house struct {
	*curation.Service
	t       *testing.T
	ctx     context.Context
	log     *changes.Log
	shelf   *shelf.Shelf
	clock   *sqldb.Clock
	catalog *catalog.Service
	listing *listing.Service
	charts  *rank.Service
}

func onEachStore(t *testing.T, test func(t *testing.T, h *house)) {
	theatertest.EachStore(t, func(t *testing.T, url string) { test(t, open(t, url, "replica-1")) })
}

func open(t *testing.T, url, replica string) *house {
	t.Helper()
	ctx, cancel := context.WithCancel(as("editor-in-chief"))
	db, err := sqldb.Open(ctx, url)
	require.NoError(t, err)
	keys, err := auth.NewKeys(db.RootSecret())
	require.NoError(t, err)
	client := theatertest.RedisClient("redis://127.0.0.1:1") // nobody listens: curation needs no Redis
	log, sh := changes.New(db, replica), shelf.New()
	gens := generations.New(db, client, keys)
	cat := catalog.New(log, sh, keys, db.Clock())
	ranker := rank.New(db, log, sh, gens, keys)
	lst := listing.New(listing.Config{Shelf: sh, Generations: gens, Keys: keys, Clock: db.Clock(), Charts: ranker})
	h := &house{t: t, ctx: ctx, log: log, shelf: sh, clock: db.Clock(), catalog: cat, listing: lst, charts: ranker, Service: curation.New(curation.Config{
		Log: log, Shelf: sh, Generations: gens, Keys: keys, Clock: db.Clock(), Films: cat, Pages: lst, Rankings: ranker, Catalog: cat, Charts: ranker,
		BuiltinCharts: ranker.Charts(), BuiltinSections: listing.Sections(), BuiltinLayouts: listing.Layouts(),
	})}
	done := make(chan error, 2)
	go func() { done <- log.Follow(ctx, sh) }()
	go func() { done <- h.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
		require.NoError(t, client.Close())
		require.NoError(t, db.Close())
	})
	require.Eventually(t, func() bool { return log.Status().Ready }, 10*time.Second, 10*time.Millisecond)
	return h
}

func as(id string, markets ...string) context.Context {
	return auth.WithCaller(context.Background(), &auth.Caller{ID: id, Roles: 1 << pb.Access_ADMIN, Markets: markets})
}

// film stores a draft that could be published in CN's neighbours.
func (h *house) film(id string, change ...func(*pb.Film)) string {
	h.t.Helper()
	f := &pb.Film{
		DefaultLanguage: "en", Localizations: map[string]*pb.FilmLocalization{"en": {Title: "Title of " + id}}, ContentType: pb.Film_ANIMATION,
		Runtime: durationpb.New(40 * time.Minute), Availability: []*pb.Availability{{Markets: []string{"SG", "US"}}}, AgeBand: pb.Film_AGE_12,
		Provenance: &pb.Provenance{DigitalSourceType: "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"},
	}
	for _, c := range change {
		c(f)
	}
	out, err := h.catalog.CreateFilm(h.ctx, &pb.CreateFilmRequest{FilmId: id, Film: f})
	require.NoError(h.t, err)
	return out.GetName()
}

func (h *house) published(id string, change ...func(*pb.Film)) string {
	h.t.Helper()
	name := h.film(id, change...)
	_, err := h.catalog.PublishFilm(h.ctx, &pb.PublishFilmRequest{Name: name})
	require.NoError(h.t, err)
	return name
}

func manual(title string, films ...string) *pb.Section {
	return &pb.Section{Title: map[string]string{"en": title}, Source: &pb.Section_Manual{Manual: &pb.ManualSource{Films: films}}}
}

func (h *house) section(id string, s *pb.Section) *pb.Section {
	h.t.Helper()
	out, err := h.CreateSection(h.ctx, &pb.CreateSectionRequest{SectionId: id, Section: s})
	require.NoError(h.t, err)
	return out
}

// layout makes a page of sections.
func (h *house) layout(id string, sections ...string) *pb.Layout {
	h.t.Helper()
	l := &pb.Layout{Name: "layouts/" + id, Sections: sections}
	if old, err := h.GetLayout(h.ctx, &pb.GetLayoutRequest{Name: l.Name}); err == nil {
		l.Etag = old.GetEtag()
	}
	out, err := h.UpdateLayout(h.ctx, &pb.UpdateLayoutRequest{Layout: l})
	require.NoError(h.t, err)
	return out
}

func (h *house) release(id string, changes ...*pb.ReleaseChange) *pb.Release {
	h.t.Helper()
	out, err := h.CreateRelease(h.ctx, &pb.CreateReleaseRequest{ReleaseId: id, Release: &pb.Release{Title: id, Changes: changes}})
	require.NoError(h.t, err)
	return out
}

func withSection(id string, s *pb.Section) *pb.ReleaseChange {
	s.Name = "sections/" + id
	return &pb.ReleaseChange{Change: &pb.ReleaseChange_Section{Section: s}}
}

func withLayout(id string, sections ...string) *pb.ReleaseChange {
	return &pb.ReleaseChange{Change: &pb.ReleaseChange_Layout{Layout: &pb.Layout{Name: "layouts/" + id, Sections: sections}}}
}

func withState(film string, state pb.Film_State) *pb.ReleaseChange {
	return &pb.ReleaseChange{Change: &pb.ReleaseChange_FilmState{FilmState: &pb.FilmStateChange{Film: film, State: state}}}
}

func withDeletion(section string) *pb.ReleaseChange {
	return &pb.ReleaseChange{Change: &pb.ReleaseChange_Delete{Delete: &pb.ResourceDeletion{Name: section}}}
}

var adult = &pb.Viewer{Market: "SG", Languages: []string{"en"}, Audience: pb.Viewer_ADULT}

// home gives the films of a page by section, as a viewer gets them.
func (h *house) home(page string, v *pb.Viewer) map[string][]string {
	h.t.Helper()
	out, err := h.listing.GetHome(h.ctx, &pb.GetHomeRequest{Viewer: v, Page: page})
	require.NoError(h.t, err)
	return films(out.GetSections())
}

func films(sections []*pb.HomeSection) map[string][]string {
	all := map[string][]string{}
	for _, s := range sections {
		for _, f := range s.GetFilms() {
			all[s.GetName()] = append(all[s.GetName()], f.GetCard().GetName())
		}
	}
	return all
}

func reason(t *testing.T, err error) pb.ErrorReason {
	t.Helper()
	e := fault.As(err)
	require.NotNil(t, e, "%v", err)
	return e.Reason
}

func stamp(at time.Time) *timestamppb.Timestamp { return timestamppb.New(at) }
