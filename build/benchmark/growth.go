package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/app"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/changes"
	"github.com/aitheater/theater/internal/demo"
	"github.com/aitheater/theater/internal/edge"
	"github.com/aitheater/theater/internal/generations"
	"github.com/aitheater/theater/internal/listing"
	"github.com/aitheater/theater/internal/shelf"
	"github.com/aitheater/theater/internal/sqldb"
)

// growth measures how the cost of a page, of memory, of the start and of a change grows with
// the catalogue.
func growth(ctx context.Context, b *bench, p plan) error {
	t := b.table("growth", "films", "CPU µs/page", "× smallest", "target", "load films/s", "target", "bytes/film over its message", "target",
		"CPU µs/change", "target", "ListFilms filter, CPU ms", "target", "longest page during changes, ms", "target")
	var contenders []contender
	var facts []map[string]float64
	for _, n := range p.sizes {
		v, err := b.variant(ctx, fmt.Sprintf("growth-%d", n))
		if err != nil {
			return err
		}
		u, err := v.usage(ctx)
		if err != nil {
			return err
		}
		facts = append(facts, u.Facts)
		request, err := proto.Marshal(first())
		if err != nil {
			return err
		}
		c := call{Method: listingService + "ListRankedFilms", Request: request}
		contenders = append(contenders, contender{name: fmt.Sprint(n), on: v, do: native(v.clients, c)})
	}
	figures, err := compare(ctx, contenders, p)
	if err != nil {
		return err
	}
	histogram := b.table("probe", "films", "pages", "< 0.25 ms", "< 0.5 ms", "< 1 ms", "< 2.5 ms", "< 5 ms", "< 10 ms", "≥ 10 ms")
	for i, f := range figures {
		x := facts[i]
		verdict := func(fact string, most float64, from int) string {
			if p.sizes[i] < from {
				return ""
			}
			return t.verdict(x[fact], most)
		}
		atLeast := ""
		if p.sizes[i] >= 100_000 {
			atLeast = "≥ 50000"
			if x["load"] < 50_000*0.9 {
				atLeast += " MISSED"
				t.missed++
			}
		}
		t.row(contenders[i].name, fmt.Sprintf("%.1f", f.cpu), fmt.Sprintf("%.2f", f.ratio), t.verdict(f.ratio, 1.15),
			fmt.Sprintf("%.0f", x["load"]), atLeast, memory(x["memory"], p.sizes[i]), verdict("memory", 3072, 100_000),
			fmt.Sprintf("%.1f", x["change"]), verdict("change", 50, 1_000_000), fmt.Sprintf("%.2f", x["filter"]), verdictAt(t, p.sizes[i], x["filter"]),
			fmt.Sprintf("%.2f", x["worst"]), verdict("worst", 10, 0))
		row := []string{contenders[i].name, fmt.Sprintf("%.0f", x["probes"])}
		for k := range probeBounds {
			row = append(row, fmt.Sprintf("%.0f", x[fmt.Sprint("probe", k)]))
		}
		histogram.row(row...)
	}
	return errors.Join(t.print(), histogram.print())
}

// memory is told where the catalogue outweighs everything else that comes and goes.
func memory(bytes float64, n int) string {
	if n < 100_000 {
		return ""
	}
	return fmt.Sprintf("%.0f", bytes)
}

// verdictAt judges the filter where the target was set, at 100,000 films.
func verdictAt(t *table, n int, ms float64) string {
	if n != 100_000 {
		return ""
	}
	return t.verdict(ms, 10)
}

// probeBounds are the upper bounds of the probe's buckets.
var probeBounds = [...]time.Duration{250 * time.Microsecond, 500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, time.Hour}

// growth serves listing, without the door, over n films, which are the demo's over and over
// under other names.
func (s *server) growth(ctx context.Context, n int) (err error) {
	db, err := sqldb.Open(ctx, "sqlite:"+filepath.Join(s.dir, fmt.Sprintf("growth-%d.db", n)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	client, closeRedis, err := app.OpenRedis(app.EmbeddedRedis)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeRedis()) }()
	secret := make([]byte, 32)
	rand.Read(secret)
	keys, err := auth.NewKeys(secret)
	if err != nil {
		return err
	}
	sh := shelf.New()
	gens := generations.New(db, client, keys)
	var running sync.WaitGroup
	defer running.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	listed := make(chan struct{})
	running.Go(func() { _ = gens.Run(ctx, listed) }) // ends with ctx
	<-listed

	g := &grown{shelf: sh, gens: gens, db: db}
	if err := s.fill(g, n); err != nil {
		return err
	}
	if err := g.publish(ctx); err != nil {
		return err
	}
	pages := listing.New(listing.Config{Shelf: sh, Generations: gens, Keys: keys, Clock: db.Clock(), Charts: charts{}})
	if err := s.probe(ctx, g, pages); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := grpc.NewServer(edge.ServerOptions()...)
	server.RegisterService(listing.Desc(pages), pages)
	defer context.AfterFunc(ctx, server.Stop)()
	if err := s.ready(addrs{GRPC: l.Addr().String()}); err != nil {
		return err
	}
	return server.Serve(l)
}

// charts are those of a growing catalogue.
type charts struct{}

func (charts) Charts() []*pb.Chart {
	return []*pb.Chart{{Name: "charts/hot", Kind: pb.Chart_HOT, MinForm: pb.Film_FEATURE}}
}

// grown is a catalogue of some size.
type grown struct {
	shelf    *shelf.Shelf
	gens     *generations.Store
	db       *sqldb.DB
	season   []*pb.Film
	revision int64
	n        int
}

// resource is film i of the catalogue.
func (g *grown) resource(i int) changes.Resource {
	f := g.season[i%len(g.season)]
	if i >= len(g.season) {
		f = proto.CloneOf(f)
		f.Name = g.name(i)
	}
	f.Revision = g.revision
	body, err := proto.Marshal(f)
	if err != nil {
		panic(err) // the demo's films encode
	}
	return changes.Resource{Name: f.Name, Revision: g.revision, Body: body}
}

func (g *grown) name(i int) string {
	name := g.season[i%len(g.season)].GetName()
	if i >= len(g.season) {
		name = fmt.Sprintf("%s-%d", name, i/len(g.season))
	}
	return name
}

// fill loads n films and finds out what that costs.
func (s *server) fill(g *grown, n int) error {
	g.n, g.revision = n, 1
	for _, f := range demo.Films(time.Now()) {
		if f.GetRuntime().AsDuration() >= 15*time.Minute {
			f.State, f.Form = pb.Film_PUBLISHED, pb.Film_FEATURE // what the catalogue derives and decides
			g.season = append(g.season, f)
		}
	}
	rows := make([]changes.Resource, n)
	bytes := 0
	for i := range rows {
		rows[i] = g.resource(i)
		bytes += len(rows[i].Body)
	}
	slices.SortFunc(rows, func(a, b changes.Resource) int { return strings.Compare(a.Name, b.Name) }) // as the store gives them
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	began, next := time.Now(), 0
	err := g.shelf.Load(1, func() (r changes.Resource, ok bool) {
		if next == n {
			return r, false
		}
		next++
		return rows[next-1], true
	})
	s.facts["load"] = float64(n) / time.Since(began).Seconds()
	runtime.GC()
	runtime.ReadMemStats(&after)
	// The rows are alive in both, so that what the shelf keeps of a message counts once.
	s.facts["memory"] = (float64(after.HeapAlloc) - float64(before.HeapAlloc)) / float64(n)
	s.facts["body"] = float64(bytes) / float64(n)
	runtime.KeepAlive(rows)
	return err
}

// publish replaces the chart.
func (g *grown) publish(ctx context.Context) error {
	const lease = "rank"
	epoch, held, err := g.db.Lease(ctx, lease, "benchmark", time.Minute)
	if err != nil || !held {
		return errors.Join(err, errors.New("no lease"))
	}
	l := &generations.List{Chart: "charts/hot", Market: generations.World, ChartRevisionID: "1", ComputeTime: time.Now()}
	for i := range min(g.n, 3000) {
		film := (i*7919 + int(g.revision)) % g.n
		l.Entries = append(l.Entries, generations.Entry{Film: g.name(film), Score: float64(g.n - i), Rank: int32(i + 1)})
	}
	l.Head = len(l.Entries)
	_, err = g.gens.Publish(ctx, lease, epoch, []*generations.List{l})
	return err
}

// probe asks for a page every millisecond while films change and a generation a second is
// replaced, and measures changes and filters by themselves.
func (s *server) probe(ctx context.Context, g *grown, pages *listing.Service) error {
	request := first()
	page, err := pages.ListRankedFilms(ctx, request)
	if err != nil {
		return err
	}
	if len(page.GetFilms()) != int(request.GetPageSize()) {
		return fmt.Errorf("a page has %d films", len(page.GetFilms()))
	}
	edit := func() {
		g.revision++
		i := int(g.revision) * 7919 % g.n
		g.shelf.Apply(g.revision, []changes.Resource{g.resource(i)})
	}
	busy, stop := context.WithTimeout(ctx, 5*time.Second)
	defer stop()
	var writers sync.WaitGroup
	writers.Go(func() { _ = beat(busy, time.Second/(10*filmsPerSecond), func() error { edit(); return nil }) })
	failed := make(chan error, 1)
	writers.Go(func() { failed <- beat(busy, time.Second, func() error { return g.publish(ctx) }) })
	var took []time.Duration
	err = beat(busy, time.Millisecond, func() error {
		began := time.Now()
		_, err := pages.ListRankedFilms(ctx, request)
		took = append(took, time.Since(began))
		return err
	})
	writers.Wait()
	if err := errors.Join(err, <-failed); err != nil {
		return err
	}
	slices.Sort(took)
	s.facts["probes"] = float64(len(took))
	s.facts["worst"] = float64(took[len(took)-1].Microseconds()) / 1e3
	for _, d := range took {
		k := slices.IndexFunc(probeBounds[:], func(b time.Duration) bool { return d < b })
		s.facts[fmt.Sprint("probe", k)]++
	}

	const many = 2000
	ready := make([]changes.Resource, many)
	for i := range ready {
		g.revision++
		ready[i] = g.resource(i * 7919 % g.n)
	}
	runtime.GC() // its cost is part of the allocations of everyone, not of the change that meets it
	began := used()
	for _, r := range ready {
		g.shelf.Apply(r.Revision, []changes.Resource{r})
	}
	s.facts["change"] = float64((used() - began).Microseconds()) / many

	filter, err := shelf.CompileFilter(`genres:"drama" AND release_date >= "1990-01-01"`)
	if err != nil {
		return err
	}
	order, err := shelf.CompileOrder("release_date desc")
	if err != nil {
		return err
	}
	const often = 20
	runtime.GC()
	began = used()
	for range often {
		g.shelf.Current().Select(filter, order, time.Now(), false)
	}
	s.facts["filter"] = float64((used() - began).Microseconds()) / 1e3 / often
	return nil
}
