package client_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/app"
	"github.com/aitheater/theater/internal/client"
	"github.com/aitheater/theater/internal/theatertest"
	"github.com/aitheater/theater/internal/theatertest/house"
)

func git(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command("git", args...).CombinedOutput()
	require.NoError(t, err, "git %s: %s", strings.Join(args, " "), out)
	return strings.TrimSpace(string(out))
}

// before gives the commit of the version before this one: the newest release (tag v*) that is
// not this very commit, or as long as there is none, the first version that could be
// restarted without failing a call, which is when the test of that was added.
func before(t testing.TB) string {
	t.Helper()
	if git(t, "rev-parse", "--is-shallow-repository") == "true" {
		// Without its history this version meets itself, which still shows that two servers
		// of a kind live side by side.
		if out, err := exec.Command("git", "fetch", "--unshallow", "--tags").CombinedOutput(); err != nil {
			t.Logf("THE HISTORY IS CUT OFF, AND THE VERSION BEFORE UNKNOWN: %s", out)
		}
	}
	tag, err := exec.Command("git", "describe", "--tags", "--abbrev=0", "--match", "v*", "HEAD^").Output()
	if err == nil {
		return git(t, "rev-parse", strings.TrimSpace(string(tag))+"^{commit}")
	}
	commit, _, _ := strings.Cut(git(t, "log", "--diff-filter=A", "--reverse", "--format=%H", "--", ":(top,glob)**/client/rolling_test.go"), "\n")
	if commit == "" {
		commit = git(t, "rev-parse", "HEAD") // this test is not committed yet
	}
	return commit
}

// sourcesBefore unpacks the version before. It stays in the user's cache, because the
// compiler's cache goes by where sources are.
func sourcesBefore(t testing.TB) string {
	t.Helper()
	commit := before(t)
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	sources := filepath.Join(cache, "theater", "versions", commit)
	if _, err := os.Stat(sources); err == nil {
		return sources
	}
	require.NoError(t, os.MkdirAll(filepath.Dir(sources), 0o755))
	fresh, err := os.MkdirTemp(filepath.Dir(sources), "unpacking-")
	require.NoError(t, err)
	defer os.RemoveAll(fresh)
	archive := filepath.Join(t.TempDir(), "sources.tar")
	git(t, "-C", git(t, "rev-parse", "--show-toplevel"), "archive", "--output", archive, commit)
	out, err := exec.Command("tar", "-xf", archive, "-C", fresh).CombinedOutput()
	require.NoError(t, err, "%s", out)
	if err := os.Rename(fresh, sources); err != nil {
		require.DirExists(t, sources, "%v", err) // another test was first
	}
	return sources
}

// buildBefore builds the version before.
func buildBefore(t testing.TB) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "theater")
	cmd := exec.Command("go", "build", "-o", binary, "./cmd/theater")
	cmd.Dir = sourcesBefore(t)
	began := time.Now()
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "building %s: %s", cmd.Dir, out)
	t.Logf("the version before is in %s, built in %s", cmd.Dir, time.Since(began))
	return binary
}

// takesAway is what a migration may not do while the version before runs on the same tables.
var takesAway = regexp.MustCompile(`(?im)^[^-\n]*\b(DROP|RENAME|TRUNCATE|DELETE|ALTER\s+COLUMN)\b`)

// What the version before has migrated stays as it is, and what is new only adds.
func TestP18_MigrationsOnlyAdd(t *testing.T) {
	t.Parallel()
	const dir = "internal/sqldb/migrations"
	old, now := os.DirFS(filepath.Join(sourcesBefore(t), dir)), os.DirFS(filepath.Join("..", "..", dir))
	names, err := fs.Glob(old, "*.sql")
	require.NoError(t, err)
	require.NotEmpty(t, names)
	for _, name := range names {
		then, err := fs.ReadFile(old, name)
		require.NoError(t, err)
		text, err := fs.ReadFile(now, name)
		require.NoError(t, err)
		assert.Equal(t, string(then), string(text), "%s was applied already; changes belong in a new file", name)
	}
	all, err := fs.Glob(now, "*.sql")
	require.NoError(t, err)
	for _, name := range all {
		if slices.Contains(names, name) {
			continue
		}
		text, err := fs.ReadFile(now, name)
		require.NoError(t, err)
		up, _, _ := strings.Cut(string(text), "-- +goose Down")
		assert.NotRegexp(t, takesAway, up, "%s takes away what the version before still uses", name)
	}
}

// replica is a running server of either version.
type replica struct {
	conn     *grpc.ClientConn
	catalog  pb.CatalogServiceClient
	listing  pb.ListingServiceClient
	signals  pb.SignalServiceClient
	charts   pb.ChartServiceClient
	curation pb.CurationServiceClient
	stop     func()
}

func newReplica(t testing.TB, addr string, stop func()) *replica {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return &replica{
		conn: conn, catalog: pb.NewCatalogServiceClient(conn), listing: pb.NewListingServiceClient(conn), signals: pb.NewSignalServiceClient(conn),
		charts: pb.NewChartServiceClient(conn), curation: pb.NewCurationServiceClient(conn), stop: stop,
	}
}

// startNow starts this version in this process.
func startNow(t testing.TB, config app.Config) *replica {
	t.Helper()
	h := house.Start(t, config)
	return newReplica(t, h.Addrs.GRPC, h.Stop)
}

// startBefore starts the other version, and waits until it is ready.
func startBefore(t testing.TB, binary string, config app.Config) *replica {
	t.Helper()
	cmd := exec.Command(binary, "serve", "--store", config.Store, "--redis", config.Redis, "--grpc-addr", config.GRPCAddr,
		"--http-addr", "127.0.0.1:0", "--metrics-addr", "127.0.0.1:0")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	hung := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadBytes('\n')
	hung.Stop()
	if err != nil {
		_ = cmd.Wait()
		t.Fatalf("the version before does not start: %v\n%s", err, said.String())
	}
	var addrs app.Addrs
	require.NoError(t, json.Unmarshal(line, &addrs), string(line))
	return newReplica(t, addrs.GRPC, func() {
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		require.NoError(t, cmd.Wait(), "%s", said.String())
	})
}

// theatre is two servers of either version on one database and one Redis.
type theatre struct {
	*testing.T
	likes map[string]int
	round int
}

// hot gives the chart in pages of two, each of the next server, and its generation.
func (th *theatre) hot(servers ...*replica) (names []string, generation int64) {
	th.Helper()
	req := &pb.ListRankedFilmsRequest{Chart: "charts/hot", Viewer: adult, PageSize: 2}
	for n := 0; ; n++ {
		page, err := servers[n%len(servers)].listing.ListRankedFilms(th.Context(), req)
		require.NoError(th, err)
		for _, f := range page.GetFilms() {
			names = append(names, f.GetCard().GetName())
		}
		generation = page.GetGeneration().GetNumber()
		if req.PageToken = page.GetNextPageToken(); req.PageToken == "" {
			return names, generation
		}
	}
}

// acclaim makes the last film the first, by way of one server, and waits for both charts:
// whoever leads has counted all there ever was, whichever version that was told to.
func (th *theatre) acclaim(by, other *replica) {
	th.Helper()
	order := func() []string {
		names := []string{"films/a", "films/b", "films/c", "films/d", "films/e"}
		slices.SortFunc(names, func(a, b string) int { return th.likes[b] - th.likes[a] })
		return names
	}
	film := order()[4]
	more := th.likes[order()[0]] - th.likes[film] + 15
	req := &pb.RecordEventsRequest{}
	for i := range more {
		req.Events = append(req.Events, &pb.Event{
			Film: film, ViewerKey: fmt.Sprint("round", th.round, "-", i), Market: "US", Kind: pb.Event_LIKE, OccurTime: timestamppb.Now(), Audience: pb.Viewer_ADULT,
		})
	}
	_, err := by.signals.RecordEvents(th.Context(), req)
	require.NoError(th, err)
	_, err = other.signals.RecordEvents(th.Context(), req) // counts once
	require.NoError(th, err)
	th.likes[film] += more
	began := time.Now()
	require.Eventually(th, func() bool {
		a, numberA := th.hot(by)
		b, numberB := th.hot(other)
		return numberA == numberB && slices.Equal(a, order()) && slices.Equal(b, order())
	}, time.Minute, 100*time.Millisecond, "%s never comes to the top of both charts", film)
	th.Logf("round %d: like to both charts %s", th.round, time.Since(began))
	mixed, _ := th.hot(by, other)
	assert.Equal(th, order(), mixed, "pages of one list, each from the other version")
	for _, s := range []*replica{by, other} {
		computed, err := s.charts.ComputeChart(th.Context(), &pb.ComputeChartRequest{Source: &pb.ComputeChartRequest_Chart{Chart: "charts/hot"}, Market: "US"})
		require.NoError(th, err)
		var names []string
		for _, e := range computed.GetEntries() {
			names = append(names, e.GetFilm())
		}
		assert.Equal(th, order(), names)
	}
}

// after is a context for reads that are not older than a write.
func (th *theatre) after(trailer metadata.MD) context.Context {
	return metadata.AppendToOutgoingContext(th.Context(), "theater-min-revision", trailer.Get("theater-revision")[0])
}

// write changes things by way of one server and looks at them at the other.
func (th *theatre) write(by, other *replica) {
	th.Helper()
	var trailer metadata.MD
	tags := []string{uuid.NewString()}
	film, err := by.catalog.UpdateFilm(th.Context(), &pb.UpdateFilmRequest{
		Film: &pb.Film{Name: "films/b", Tags: tags}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"tags"}},
	}, grpc.Trailer(&trailer))
	require.NoError(th, err)
	seen, err := other.catalog.GetFilm(th.after(trailer), &pb.GetFilmRequest{Name: film.GetName()})
	require.NoError(th, err)
	film.Stats, seen.Stats = nil, nil // as of when they are asked for
	assert.True(th, proto.Equal(film, seen), "%v\n%v", film, seen)

	once := &pb.CreateFilmRequest{FilmId: "once-" + uuid.NewString()[:8], Film: feature("once"), RequestId: uuid.NewString()}
	once.Film.Name = ""
	film, err = by.catalog.CreateFilm(th.Context(), once)
	require.NoError(th, err)
	again, err := other.catalog.CreateFilm(th.Context(), once)
	require.NoError(th, err)
	assert.True(th, proto.Equal(film, again), "a request_id means the same to both versions")

	section, err := by.curation.CreateSection(th.Context(), &pb.CreateSectionRequest{SectionId: "s-" + uuid.NewString()[:8], Section: &pb.Section{
		Title: map[string]string{"en": "Chosen"}, Source: &pb.Section_Manual{Manual: &pb.ManualSource{Films: []string{"films/b"}}},
	}}, grpc.Trailer(&trailer))
	require.NoError(th, err)
	shown, err := other.listing.ListSectionFilms(th.after(trailer), &pb.ListSectionFilmsRequest{Parent: section.GetName(), Viewer: adult})
	require.NoError(th, err)
	require.Len(th, shown.GetFilms(), 1)
	assert.Equal(th, "films/b", shown.GetFilms()[0].GetCard().GetName())
}

// takeDown hides a film by way of one server; the other no longer shows it.
func (th *theatre) takeDown(by, other *replica) {
	th.Helper()
	_, err := by.catalog.TakeDownFilm(th.Context(), &pb.TakeDownFilmRequest{Name: "films/c", Reason: "test"})
	require.NoError(th, err)
	acknowledged := time.Now()
	for {
		began := time.Now()
		_, err = other.listing.GetTitle(th.Context(), &pb.GetTitleRequest{Name: "films/c", Viewer: adult})
		names, _ := th.hot(other)
		if status.Code(err) == codes.NotFound && !slices.Contains(names, "films/c") {
			break
		}
		require.Less(th, began.Sub(acknowledged), 5*time.Second, "1 s and what a busy machine adds: the other version shows a film that was taken down")
	}
	_, err = other.catalog.ReinstateFilm(th.Context(), &pb.ReinstateFilmRequest{Name: "films/c"})
	require.NoError(th, err)
	require.Eventually(th, func() bool {
		names, _ := th.hot(by)
		return slices.Contains(names, "films/c")
	}, 30*time.Second, 10*time.Millisecond, "reinstated by the other version")
}

// check holds two servers against each other.
func (th *theatre) check(x, y *replica) {
	th.Helper()
	th.round++
	th.acclaim(x, y)
	for _, pair := range [][2]*replica{{x, y}, {y, x}} {
		th.write(pair[0], pair[1])
		th.takeDown(pair[0], pair[1])
	}
}

// TestP18_TwoVersionsSideBySide rolls two servers from the version before to this one and
// back, one at a time, on one PostgreSQL and one Redis, under calls. The leader moves from
// version to version both ways.
func TestP18_TwoVersionsSideBySide(t *testing.T) {
	t.Parallel()
	binary := buildBefore(t)
	configs := [2]app.Config{}
	store, redis := theatertest.Postgres(t), theatertest.Redis(t)
	var addrs []resolver.Address
	for i := range configs {
		configs[i] = app.Config{Store: store, Redis: redis, GRPCAddr: theatertest.FreeAddr(t)}
		addrs = append(addrs, resolver.Address{Addr: configs[i].GRPCAddr})
	}
	x, y := startBefore(t, binary, configs[0]), startBefore(t, binary, configs[1])
	season(t, x.catalog, x.signals, x.listing, y.listing)
	th := &theatre{T: t, likes: map[string]int{"films/a": 50, "films/b": 40, "films/c": 30, "films/d": 20, "films/e": 10}}

	r := manual.NewBuilderWithScheme("theatre")
	r.InitialState(resolver.State{Addresses: addrs})
	conn, err := client.Dial("theatre:///", client.Options{}, grpc.WithResolvers(r))
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	l := &load{t: t, conn: conn}
	until, stop := context.WithCancel(t.Context())
	defer stop()
	var everyone, watching sync.WaitGroup
	for _, work := range []func(context.Context){l.look, l.edit} {
		everyone.Go(func() { work(until) })
	}
	var watched []string
	watching.Go(func() { watched, _ = l.watch("films/last") })

	x.stop()
	x = startNow(t, configs[0]) // forward
	th.check(x, y)
	y.stop()
	y = startNow(t, configs[1])
	th.check(y, x)
	x.stop()
	x = startBefore(t, binary, configs[0]) // and back
	th.check(y, x)
	y.stop()
	y = startBefore(t, binary, configs[1])
	th.check(x, y)

	stop()
	everyone.Wait()
	_, err = x.catalog.CreateFilm(t.Context(), fresh("last"))
	require.NoError(t, err)
	watching.Wait()
	assert.Equal(t, append(l.created, "films/last"), watched, "each film once, in the order of the writes")
	t.Logf("%d calls, none failed; the slowest took %s", l.calls.Load(), time.Duration(l.slowest.Load()))
	x.stop()
	y.stop()
}
