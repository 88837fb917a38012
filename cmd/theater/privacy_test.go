package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/theatertest"
)

// Whatever clients send, and wherever they put it, nothing of it that is secret is logged,
// traced or measured: credentials, right and wrong and in the wrong place, the names of
// viewers, and the contents of requests, of those that fail above all.
func TestNothingSecretIsLoggedOrTraced(t *testing.T) {
	t.Parallel()
	collector := theatertest.NewCollector(t)
	database, cache := theatertest.NewPostgres(t), theatertest.NewRedis(t)
	line := theatertest.NewProxy(t, database.Addr)
	dir := t.TempDir()
	secret := func(what string) string { return "secret-" + what + "-0123456789abcdef" }
	keys, root := filepath.Join(dir, "keys.json"), filepath.Join(dir, "root")
	require.NoError(t, os.WriteFile(keys, []byte(fmt.Sprintf(`{%q: {"id": "boss", "roles": ["ADMIN"]}, %q: {"id": "tv", "roles": ["VIEWER"]}}`, secret("admin"), secret("viewer"))), 0o600))
	require.NoError(t, os.WriteFile(root, []byte(secret("root")+secret("root")), 0o600))
	store := strings.Replace(line.URL(database.URL), "postgres@", "postgres:"+secret("password")+"@", 1)
	p := start(t, collector.Env(), "serve", "--store", store, "--redis", "redis://:"+secret("password")+"@"+cache.Addr, "--auth", "static:"+keys, "--secret-file", root)
	conn := dialTo(t, p.addrs.GRPC)
	catalog, signals := pb.NewCatalogServiceClient(conn), pb.NewSignalServiceClient(conn)

	film := func(id string) *pb.Film {
		return &pb.Film{Name: "films/" + id, DefaultLanguage: "en", Localizations: map[string]*pb.FilmLocalization{"en": {Title: secret("body"), Synopsis: secret("body")}}}
	}
	event := &pb.Event{Film: "films/a", ViewerKey: secret("person"), Market: "US", Kind: pb.Event_LIKE, OccurTime: timestamppb.Now(), Audience: pb.Viewer_ADULT}
	asked := 0
	everything := func(md metadata.MD) {
		ctx := metadata.NewOutgoingContext(t.Context(), md)
		_, _ = catalog.CreateFilm(ctx, &pb.CreateFilmRequest{FilmId: "a", Film: film("a")})
		_, _ = catalog.CreateFilm(ctx, &pb.CreateFilmRequest{FilmId: secret("body") + "!", Film: film("")})
		_, _ = catalog.UpdateFilm(ctx, &pb.UpdateFilmRequest{Film: film("a")})
		_, _ = catalog.TakeDownFilm(ctx, &pb.TakeDownFilmRequest{Name: "films/a", Reason: secret("body")})
		_, _ = catalog.ListFilms(ctx, &pb.ListFilmsRequest{Filter: `title = "` + secret("body") + `" AND (`})
		_, _ = catalog.ListFilms(ctx, &pb.ListFilmsRequest{PageToken: secret("body")})
		_, _ = signals.RecordEvents(ctx, &pb.RecordEventsRequest{Events: []*pb.Event{event, {Film: "films/none", ViewerKey: secret("person")}, {ViewerKey: strings.Repeat(secret("person"), 100)}}})
		_, _ = signals.PurgeViewer(ctx, &pb.PurgeViewerRequest{ViewerKey: secret("person")})
		asked++
	}
	post := func(path, body string, headers ...string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+p.addrs.HTTP+path, strings.NewReader(body))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/json")
		for i := 0; i < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		asked++
	}
	onHTTP := func(headers ...string) {
		const create = "/theater.v1.CatalogService/CreateFilm"
		for _, body := range []string{
			`{"filmId":"b","film":{"localizations":{"en":{"title":"` + secret("body") + `"}}}}`,
			`{"` + secret("body") + `":1}`, `{"film":{"runtime":"` + secret("body") + `"}}`, secret("body"), `{"filmId":"` + strings.Repeat(secret("body"), 300_000) + `"}`,
		} {
			post(create, body, headers...)
		}
		post(create+"?access_token="+secret("admin")+"&token="+secret("admin"), "{}", headers...)
		post("/"+secret("body")+"?key="+secret("admin"), secret("body"), headers...)
		post("/theater.v1.SignalService/PurgeViewer", `{"viewerKey":"`+secret("person")+`"}`, headers...)
		resp, err := http.Get("http://" + p.addrs.HTTP + "/theater.v1.CatalogService/GetFilm?encoding=json&message=" + url.QueryEscape(`{"name":"films/`+secret("body")+`"}`))
		require.NoError(t, err)
		_ = resp.Body.Close()
	}
	round := func() {
		for _, md := range []metadata.MD{
			metadata.Pairs("authorization", "Bearer "+secret("admin")), metadata.Pairs("authorization", "Bearer "+secret("viewer")),
			metadata.Pairs("authorization", "Bearer "+secret("unknown")),
			metadata.Pairs("authorization", "Basic "+secret("admin")), metadata.Pairs("authorization", secret("admin")),
			metadata.Pairs("x-api-key", secret("admin"), "cookie", "session="+secret("admin"), "token-bin", secret("admin"), "theater-min-revision", secret("admin")),
			metadata.Pairs("authorization", "Bearer "+secret("admin"), "theater-min-revision", secret("admin"), "traceparent", secret("admin")),
		} {
			everything(md)
		}
		onHTTP("Authorization", "Bearer "+secret("admin"))
		onHTTP("Authorization", "Bearer "+secret("unknown"))
		onHTTP("X-Api-Key", secret("admin"), "Cookie", "session="+secret("admin"), "Referer", "http://x/?token="+secret("admin"), "User-Agent", secret("admin"))
	}
	round()
	cache.Kill()
	line.BlackHole() // from here on writes fail with what the driver says
	round()
	line.Cut()
	round()
	line.Heal()
	cache.Start(t)
	require.True(t, eventuallyTrue(func() bool {
		return metric(t, p, "theater_dependency_healthy", `dependency="sql"`) == 1 && len(collector.Spans("")) > asked && len(collector.Logs()) > 3
	}))
	measured, err := http.Get("http://" + p.addrs.Metrics + "/metrics")
	require.NoError(t, err)
	text, err := io.ReadAll(measured.Body)
	require.NoError(t, err)
	require.NoError(t, measured.Body.Close())
	code, _ := p.stop()
	require.Equal(t, exitOK, code)
	time.Sleep(200 * time.Millisecond) // what is still on its way to the collector

	said := map[string]string{"stderr": p.err.String(), "metrics": string(text)}
	for i, s := range collector.Spans("") {
		said[fmt.Sprint("span ", i)] = prototext.Format(s)
	}
	for i, l := range collector.Logs() {
		said[fmt.Sprint("log ", i)] = prototext.Format(l)
	}
	assert.Contains(t, said["stderr"], "call failed", "there was something to log")
	for where, what := range said {
		for line := range strings.Lines(what) {
			if strings.Contains(line, "secret-") {
				t.Errorf("%s: %.400s", where, line)
			}
		}
	}
	t.Logf("looked through %d spans and log records of %d requests", len(said)-2, asked)
}
