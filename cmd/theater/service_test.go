package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	pb "github.com/aitheater/theater/api/theater/v1"
)

func dialTo(t testing.TB, addr string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// A newcomer's first minute: every curl line the demo prints works as it stands.
func TestDemoPrintsLinesThatWork(t *testing.T) {
	t.Parallel()
	// What servers in the same shell are told is not for the demo.
	p := start(t, []string{"THEATER_OIDC_AUDIENCE=theater", "THEATER_TLS_CERT=server.pem"}, "demo", "--dir", t.TempDir())
	// The ready line comes by another pipe and may overtake what was printed before it.
	var printed string
	require.Eventually(t, func() bool {
		printed = p.err.String()
		return strings.Contains(printed, "Ctrl-C ends it")
	}, 30*time.Second, 10*time.Millisecond)
	lines := regexp.MustCompile(`curl -s (http://\S+) -H '([^:]+): ([^']+)' -d '([^']+)'`).FindAllStringSubmatch(printed, -1)
	require.Len(t, lines, 3, printed)
	for _, l := range lines {
		req, err := http.NewRequest(http.MethodPost, l[1], strings.NewReader(l[4]))
		require.NoError(t, err)
		req.Header.Set(l[2], l[3])
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		text, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, http.StatusOK, res.StatusCode, string(text))
		answer := map[string]any{}
		require.NoError(t, json.Unmarshal(text, &answer))
		assert.True(t, answer["films"] != nil || answer["sections"] != nil, "%s: %s", l[0], text)
		assert.Contains(t, string(text), `"disclosure"`)
	}
	for _, url := range regexp.MustCompile(`(?m)http://\S+/$|http://\S+/metrics`).FindAllString(printed, -1) {
		res, err := http.Get(url)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		assert.Equal(t, http.StatusOK, res.StatusCode, url)
	}
	ready := theater(t, "", "healthcheck", "--server", p.addrs.GRPC)
	assert.Equal(t, exitOK, ready.code, ready.err)
	code, took := p.stop()
	assert.Equal(t, exitOK, code, p.err.String())
	assert.Less(t, took, 10*time.Second)
	gone := theater(t, "", "healthcheck", "--server", p.addrs.GRPC)
	assert.Equal(t, exitFailed, gone.code)
}

func filmLine(id string, more string) string {
	return fmt.Sprintf(`{"name":"films/%s","defaultLanguage":"en","localizations":{"en":{"title":"Title of %s"}},"contentType":"FILM","runtime":"5400s",`+
		`"availability":[{"markets":["US"]}],"provenance":{"digitalSourceType":"http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"}%s}`, id, id, more)
}

func TestImportExportRoundTrip(t *testing.T) {
	t.Parallel()
	store := "sqlite:" + filepath.Join(t.TempDir(), "theater.db")
	p := start(t, nil, "serve", "--store", store)
	var file strings.Builder
	for i := range 700 {
		fmt.Fprintln(&file, filmLine(fmt.Sprintf("f%d", i), `,"genres":["drama"]`))
	}
	film := theater(t, file.String(), "import", "films", "-", "--server", p.addrs.GRPC, "--publish", "--create-genres")
	require.Equal(t, exitOK, film.code, film.err)
	assert.Contains(t, film.err, "700 created")
	assert.Contains(t, film.err, "700 published")

	// Refused lines, by number; stored but not published, by reason; the rest kept.
	odd := strings.Join([]string{
		filmLine("good", ""),
		strings.Replace(filmLine("bad-runtime", ""), "5400s", "-1s", 1),
		`{"name":"films/typo","runtim":"5s"}`,
		filmLine("bad-market", `,"countries":["Narnia"]`),
		filmLine("bad-genre", `,"genres":["no-such-genre"]`),
		`{"name":"films/no-runtime","defaultLanguage":"en","localizations":{"en":{"title":"No runtime"}}}`,
		"",
		`not json`,
	}, "\n")
	film = theater(t, odd, "import", "films", "-", "--server", p.addrs.GRPC, "--publish")
	assert.Equal(t, exitRefused, film.code, film.err)
	for _, want := range []string{"line 2: films/bad-runtime film.runtime", "line 3: column ", `"runtim"`, "line 4: films/bad-market", "countries", "line 5: films/bad-genre", "genres", "line 8: ", "1 published", "stored but not published", "runtime"} {
		assert.Contains(t, film.err, want)
	}
	assert.NotContains(t, film.err, "line 1:")
	assert.NotContains(t, film.err, "line 6:")

	exported := theater(t, "", "export", "films", "--server", p.addrs.GRPC)
	require.Equal(t, exitOK, exported.code, exported.err)
	assert.Equal(t, 702, strings.Count(exported.out, "\n"))
	again := theater(t, exported.out, "import", "films", "-", "--server", p.addrs.GRPC)
	assert.Equal(t, exitOK, again.code, again.err)
	assert.Contains(t, again.err, "702 unchanged", "what was exported is what is there")
	some := theater(t, "", "export", "films", "--filter", "state = DRAFT", "--server", p.addrs.GRPC)
	assert.Equal(t, 1, strings.Count(some.out, "\n"))
	wrong := theater(t, "", "export", "films", "--filter", "colour = RED", "--server", p.addrs.GRPC)
	assert.Equal(t, exitFailed, wrong.code)
	assert.Contains(t, wrong.err, "colour")

	now := time.Now().UTC().Add(-time.Hour).Format(time.RFC3339)
	event := func(viewer, kind string, value float64) string {
		return fmt.Sprintf(`{"film":"films/f1","viewerKey":%q,"market":"US","kind":%q,"value":%g,"occurTime":%q,"audience":"ADULT"}`, viewer, kind, value, now)
	}
	events := theater(t, strings.Join([]string{event("a", "LIKE", 0), event("b", "RATE", 4.5), event("c", "RATE", 11), event("d", "DANCE", 0)}, "\n"), "import", "events", "-", "--server", p.addrs.GRPC)
	assert.Equal(t, exitRefused, events.code, events.err)
	for _, want := range []string{"2 accepted", "line 3: ", "line 4: ", "DANCE"} {
		assert.Contains(t, events.err, want)
	}

	// The file belongs to the server while it runs, and is in order afterwards.
	second := theater(t, "", "migrate", "--store", store)
	assert.Equal(t, exitFailed, second.code)
	assert.Contains(t, second.err, "another process")
	code, _ := p.stop()
	assert.Equal(t, exitOK, code, p.err.String())
	check := theater(t, "", "check", "--store", store)
	assert.Equal(t, exitOK, check.code, check.out+check.err)
}

func TestStaticKeysDecideWhoCalls(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	keys := filepath.Join(dir, "keys.json")
	admin := strings.TrimSpace(theater(t, "", "token", "--keys", keys, "--id", "importer", "--role", "ADMIN").out)
	viewer := strings.TrimSpace(theater(t, "", "token", "--keys", keys, "--id", "web", "--role", "VIEWER").out)
	p := start(t, nil, "serve", "--store", "sqlite:"+filepath.Join(dir, "theater.db"), "--auth", "static:"+keys)
	film := filmLine("a", "") + "\n"
	got := theater(t, film, "import", "films", "-", "--server", p.addrs.GRPC)
	assert.Equal(t, exitFailed, got.code)
	assert.Contains(t, got.err, "--token")
	got = theater(t, film, "import", "films", "-", "--server", p.addrs.GRPC, "--token", viewer)
	assert.Equal(t, exitFailed, got.code)
	assert.Contains(t, got.err, "PermissionDenied")
	got = theaterIn(t, map[string]string{"THEATER_TOKEN": admin}, film, "import", "films", "-", "--server", p.addrs.GRPC)
	assert.Equal(t, exitOK, got.code, got.err)
	ready := theater(t, "", "healthcheck", "--server", p.addrs.GRPC)
	assert.Equal(t, exitOK, ready.code, "probes need no token: %s", ready.err)
}

// What was answered OK is there after the process is killed at any moment.
func TestP1_AcknowledgedWritesSurviveKill(t *testing.T) {
	t.Parallel()
	store := "sqlite:" + filepath.Join(t.TempDir(), "theater.db")
	written := map[string]string{} // film → etag of the last acknowledged write
	const kills = 4
	for round := range kills {
		p := start(t, nil, "serve", "--store", store)
		catalog := pb.NewCatalogServiceClient(dialTo(t, p.addrs.GRPC))
		for name, etag := range written {
			f, err := catalog.GetFilm(t.Context(), &pb.GetFilmRequest{Name: name})
			require.NoError(t, err, "round %d", round)
			require.Equal(t, etag, f.GetEtag(), "%s in round %d", name, round)
		}
		var mu sync.Mutex
		var writers sync.WaitGroup
		for w := range 4 {
			writers.Go(func() {
				for n := 0; ; n++ {
					id := fmt.Sprintf("r%d-w%d-n%d", round, w, n)
					f, err := catalog.CreateFilm(context.Background(), &pb.CreateFilmRequest{FilmId: id, Film: &pb.Film{
						DefaultLanguage: "en", Localizations: map[string]*pb.FilmLocalization{"en": {Title: id}}}})
					if err != nil {
						return
					}
					mu.Lock()
					written[f.GetName()] = f.GetEtag()
					mu.Unlock()
				}
			})
		}
		require.True(t, eventuallyTrue(func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(written) > 10*(round+1)
		}), "writes go through")
		time.Sleep(rand.N(400 * time.Millisecond))
		p.kill()
		writers.Wait()
	}
	t.Logf("%d acknowledged writes over %d kills", len(written), kills)
}

func TestP13_StopUnderLoadFailsNoCall(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1"}, "serve", "--store", "sqlite:"+filepath.Join(dir, "theater.db"))
	got := theater(t, filmLine("a", ""), "import", "films", "-", "--server", p.addrs.GRPC, "--publish")
	require.Equal(t, exitOK, got.code, got.err)
	conn := dialTo(t, p.addrs.GRPC)
	listing := pb.NewListingServiceClient(conn)
	var served, refused atomic.Int64
	stopped := make(chan struct{})
	var load sync.WaitGroup
	for range 8 {
		load.Go(func() {
			for {
				ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
				_, err := listing.GetTitle(ctx, &pb.GetTitleRequest{Name: "films/a", Viewer: &pb.Viewer{Market: "US", Audience: pb.Viewer_ADULT}})
				cancel()
				switch {
				case err == nil:
					served.Add(1)
				case status.Code(err) == codes.Unavailable:
					// Another replica would take it: that is what clients retry.
					refused.Add(1)
					select {
					case <-stopped:
						return
					case <-time.After(10 * time.Millisecond):
					}
				default:
					t.Errorf("a call failed with what clients do not retry: %v", err)
					return
				}
			}
		})
	}
	// A stream whose client never says anything again.
	stuck, err := pb.NewCatalogServiceClient(conn).ImportFilms(t.Context())
	require.NoError(t, err)
	require.NoError(t, stuck.Send(&pb.ImportFilmsRequest{ValidateOnly: true}))
	require.True(t, eventuallyTrue(func() bool { return served.Load() > 100 }), "the load has begun")
	code, took := p.stop()
	close(stopped)
	load.Wait()
	assert.Equal(t, exitOK, code, p.err.String())
	assert.Less(t, took, 25*time.Second)
	t.Logf("stopped in %s, %d calls served, %d sent on to another replica", took, served.Load(), refused.Load())
}

// An import outlives a restart of the server: it goes on where it was, nothing lost.
func TestImportGoesOnAfterARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store := "sqlite:" + filepath.Join(dir, "theater.db")
	p := start(t, nil, "serve", "--store", store)
	addr := p.addrs.GRPC
	const films = 6000
	in, out := io.Pipe()
	var errs lockedBuffer
	done := make(chan int, 1)
	go func() {
		code := run(t.Context(), console{in, io.Discard, &errs}, []string{"import", "films", "-", "--server", addr}, nil)
		_ = in.CloseWithError(fmt.Errorf("the import ended with %d: %s", code, errs.String()))
		done <- code
	}()
	restarted := make(chan struct{})
	for i := range films {
		if i == films/2 {
			catalog := pb.NewCatalogServiceClient(dialTo(t, addr))
			require.True(t, eventuallyTrue(func() bool {
				list, err := catalog.ListFilms(t.Context(), &pb.ListFilmsRequest{PageSize: 1})
				return err == nil && list.GetTotalSize() >= films/4
			}), "the server is known to be one that answers")
			go func() {
				defer close(restarted)
				p.kill()
				p = start(t, []string{"THEATER_GRPC_ADDR=" + addr}, "serve", "--store", store)
			}()
		}
		_, err := io.Copy(out, bytes.NewBufferString(filmLine(fmt.Sprintf("f%d", i), "")+"\n"))
		require.NoError(t, err)
	}
	require.NoError(t, out.Close())
	<-restarted
	assert.Equal(t, exitOK, <-done, errs.String())
	list, err := pb.NewCatalogServiceClient(dialTo(t, p.addrs.GRPC)).ListFilms(t.Context(), &pb.ListFilmsRequest{PageSize: 1})
	require.NoError(t, err)
	assert.EqualValues(t, films, list.GetTotalSize())
}

func TestImportReadsFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, nil, "serve", "--store", "sqlite:"+filepath.Join(dir, "theater.db"))
	name := filepath.Join(dir, "films.jsonl.gz")
	require.NoError(t, os.WriteFile(name, []byte(packed(t, filmLine("zipped", "")+"\n")), 0o600))
	got := theater(t, "", "import", "films", name, "--server", p.addrs.GRPC)
	assert.Equal(t, exitOK, got.code, got.err)
	got = theater(t, "", "import", "films", dir, "--server", p.addrs.GRPC)
	assert.Equal(t, exitFailed, got.code)
	assert.Contains(t, got.err, "is a directory")
}
