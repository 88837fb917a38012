package listing

import (
	"context"
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/changes"
	"github.com/aitheater/theater/internal/generations"
	"github.com/aitheater/theater/internal/shelf"
	"github.com/aitheater/theater/internal/sqldb"
	"github.com/aitheater/theater/internal/theatertest"
)

// TestMain keeps the properties short: each try writes to a real database. An explicit
// -rapid.checks wins.
func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", "30"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// noon is when the tests begin.
var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// charts are the definitions of the tests' built-in charts.
type charts []*pb.Chart

func (c charts) Charts() []*pb.Chart { return c }

var builtinCharts = charts{
	{Name: "charts/hot", Kind: pb.Chart_HOT, MinForm: pb.Film_FEATURE},
	{Name: "charts/top-rated", Kind: pb.Chart_TOP_RATED, MinForm: pb.Film_FEATURE},
	{Name: "charts/all", Kind: pb.Chart_HOT},
}

// house is a listing service over a real shelf, a real database and a real Redis.
type house struct {
	*Service
	t        testing.TB
	db       *sqldb.DB
	shelf    *shelf.Shelf
	clock    *sqldb.Clock
	revision int64
	films    map[string]*pb.Film
}

const lease = "ranker"

func newHouse(t testing.TB) *house {
	db, err := sqldb.Open(t.Context(), theatertest.SQLite(t))
	require.NoError(t, err)
	client := theatertest.RedisClient(theatertest.Redis(t))
	keys, err := auth.NewKeys(make([]byte, 32))
	require.NoError(t, err)
	gens := generations.New(db, client, keys)
	ctx, stop := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- gens.Run(ctx, ready) }()
	<-ready
	t.Cleanup(func() {
		stop()
		<-done
		require.NoError(t, client.Close())
		require.NoError(t, db.Close())
	})
	h := &house{t: t, db: db, shelf: shelf.New(), clock: sqldb.NewClock(), films: map[string]*pb.Film{}}
	h.at(noon)
	h.Service = New(Config{Shelf: h.shelf, Generations: gens, Keys: keys, Clock: h.clock, Charts: builtinCharts})
	h.put(
		&pb.Genre{Name: "genres/drama", DisplayNames: map[string]string{"en": "Drama", "zh": "剧情"}},
		&pb.Genre{Name: "genres/family", DisplayNames: map[string]string{"en": "Family"}, Children: true},
		&pb.Genre{Name: "genres/empty"},
	)
	return h
}

// at sets the clock.
func (h *house) at(now time.Time) {
	local := time.Now()
	h.clock.Observe(local, now, local)
}

type named interface {
	proto.Message
	GetName() string
}

// put makes resources visible under one new revision.
func (h *house) put(resources ...named) {
	h.revision++
	var changed []changes.Resource
	for _, r := range resources {
		if f, ok := r.(*pb.Film); ok {
			f.Revision = h.revision
			h.films[f.Name] = f
		}
		body, err := proto.Marshal(r)
		require.NoError(h.t, err)
		changed = append(changed, changes.Resource{Name: r.GetName(), Revision: h.revision, Body: body})
	}
	h.shelf.Apply(h.revision, changed)
}

// edit changes a film.
func (h *house) edit(name string, edit func(*pb.Film)) {
	f := proto.CloneOf(h.films[name])
	edit(f)
	h.put(f)
}

func (h *house) takeDown(name string) {
	h.edit(name, func(f *pb.Film) { f.State = pb.Film_TAKEN_DOWN })
}
func (h *house) reinstate(name string) {
	h.edit(name, func(f *pb.Film) { f.State = pb.Film_PUBLISHED })
}

// withdraw closes the gate ahead of the revision, as a follower that is behind does.
func (h *house) withdraw(name string) { h.shelf.Withdraw(h.revision+1, []string{name}) }

// film makes a feature everyone may see everywhere.
func film(id string, edits ...func(*pb.Film)) *pb.Film {
	f := &pb.Film{
		Name:            "films/" + id,
		State:           pb.Film_PUBLISHED,
		DefaultLanguage: "en",
		Localizations: map[string]*pb.FilmLocalization{
			"en": {Title: "Title of " + id, Synopsis: "Synopsis of " + id, Tagline: "Tagline of " + id},
			"zh": {Title: "片名" + id, Synopsis: "简介" + id},
		},
		Form: pb.Film_FEATURE, Runtime: durationpb.New(90 * time.Minute), ContentType: pb.Film_DRAMA, Genres: []string{"drama"},
		Availability: []*pb.Availability{{}},
		AgeBand:      pb.Film_ALL, MinorsReview: &pb.MinorsReview{Reviewer: "Ms Li", AgeBand: pb.Film_ALL},
		Provenance: &pb.Provenance{DigitalSourceType: "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"},
		Artwork:    []*pb.Artwork{{Kind: pb.Artwork_POSTER, Uri: "/art/" + id + ".svg", Width: 400, Height: 600}},
		Media:      []*pb.Media{{Kind: pb.Media_MAIN, AssetId: "main-" + id}, {Kind: pb.Media_TRAILER, AssetId: "trailer-" + id}},
		Credits:    []*pb.Credit{{Role: "director", Names: map[string]string{"en": "Wen Ye", "zh": "文野"}}},
	}
	for _, edit := range edits {
		edit(f)
	}
	return f
}

func short(f *pb.Film)     { f.Form, f.Runtime = pb.Film_SHORT, durationpb.New(3*time.Minute) }
func adultOnly(f *pb.Film) { f.AgeBand, f.MinorsReview = pb.Film_AGE_18, nil }
func unreviewed(f *pb.Film) {
	f.MinorsReview = nil
}
func genre(slugs ...string) func(*pb.Film) { return func(f *pb.Film) { f.Genres = slugs } }
func content(c pb.Film_ContentType) func(*pb.Film) {
	return func(f *pb.Film) { f.ContentType = c }
}
func window(announce, start, end time.Time) func(*pb.Film) {
	return func(f *pb.Film) {
		w := &pb.Availability{}
		for to, at := range map[**timestamppb.Timestamp]time.Time{&w.AnnounceTime: announce, &w.StartTime: start, &w.EndTime: end} {
			if !at.IsZero() {
				*to = timestamppb.New(at)
			}
		}
		f.Availability = []*pb.Availability{w}
	}
}

// ids makes n film ids, in order.
func ids(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("f%04d", i)
	}
	return out
}

// stock puts n films, made by edits by index.
func (h *house) stock(n int, edits ...func(i int, f *pb.Film)) []string {
	var films []named
	all := ids(n)
	for i, id := range all {
		f := film(id)
		for _, edit := range edits {
			edit(i, f)
		}
		films = append(films, f)
	}
	h.put(films...)
	return all
}

// list is a chart of films, best first, all of them within its head.
func list(chart string, films ...string) *generations.List {
	l := &generations.List{Chart: "charts/" + chart, Market: generations.World, ChartRevisionID: "r1", ComputeTime: noon, Head: len(films),
		TraceID: [16]byte{1}, SpanID: [8]byte{2}}
	for i, id := range films {
		l.Entries = append(l.Entries, generations.Entry{Film: "films/" + id, Score: float64(1000 - i), Rank: int32(i + 1), Previous: int32(i + 2), Peak: 1})
	}
	return l
}

// publish makes lists all there is.
func (h *house) publish(lists ...*generations.List) {
	epoch, held, err := h.db.Lease(h.t.Context(), lease, "test", time.Hour)
	require.NoError(h.t, err)
	require.True(h.t, held)
	_, err = h.Generations.Publish(h.t.Context(), lease, epoch, lists)
	require.NoError(h.t, err)
}

var (
	adult = &pb.Viewer{Market: "SG", Languages: []string{"en"}, Audience: pb.Viewer_ADULT}
	child = &pb.Viewer{Market: "SG", Languages: []string{"en"}, Audience: pb.Viewer_KIDS, AgeBand: pb.Film_AGE_8}
)

func namesOf(films []*pb.RankedFilm) []string {
	out := []string{}
	for _, f := range films {
		out = append(out, f.GetCard().GetName()[len("films/"):])
	}
	return out
}

// chain reads a chart to its end; size gives each page's size, between runs after each page.
func (h *house) chain(req *pb.ListRankedFilmsRequest, size func() int32, between func()) []*pb.RankedFilm {
	var all []*pb.RankedFilm
	req = proto.CloneOf(req)
	for {
		req.PageSize = size()
		m, err := h.ListRankedFilms(h.t.Context(), req)
		require.NoError(h.t, err)
		all = append(all, m.GetFilms()...)
		if req.PageToken = m.GetNextPageToken(); req.PageToken == "" {
			return all
		}
		between()
	}
}
