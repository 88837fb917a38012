package client_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/app"
	"github.com/aitheater/theater/internal/theatertest/browser"
	"github.com/aitheater/theater/internal/theatertest/house"
)

// frontEnd serves a page with the public client libraries from an origin of its own.
func frontEnd(t testing.TB) *httptest.Server {
	t.Helper()
	dir := npm(t, "web")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "schema.binpb"), schema(t), 0o600))
	s := httptest.NewServer(http.FileServer(http.Dir(dir)))
	t.Cleanup(s.Close)
	return s
}

// A page of a listed origin, in a real browser, over every protocol of the HTTP port.
func TestBrowserClient(t *testing.T) {
	t.Parallel()
	page := frontEnd(t)
	h := house.Start(t, app.Config{Origins: []string{page.URL}})
	season(t, h.Catalog, h.Signals, h.Listing)
	ctx := browser.Open(t)
	open := func(origin string) {
		t.Helper()
		require.NoError(t, chromedp.Do(ctx, chromedp.Navigate(origin+"/?server="+url.QueryEscape("http://"+h.Addrs.HTTP))))
	}
	var revalidated atomic.Int64
	require.NoError(t, chromedp.Listen(ctx, func(event any) {
		if r, ok := event.(*network.EventResponseReceivedExtraInfo); ok && r.StatusCode == http.StatusNotModified {
			revalidated.Add(1)
		}
	}))
	open(page.URL)
	checks, err := chromedp.Run(ctx, chromedp.Evaluate[[]string]("window.checks", chromedp.EvalAwaitPromise))
	require.NoError(t, err)
	assert.Equal(t, []string{"Connect JSON", "Connect JSON by GET", "Connect protobuf", "Connect protobuf by GET", "gRPC-Web"}, checks)
	assert.Eventually(t, func() bool { return revalidated.Load() >= 2 }, 10*time.Second, 10*time.Millisecond, "GETs find their copies unchanged")

	// The same page by another name is another origin, and not listed.
	open(strings.Replace(page.URL, "127.0.0.1", "localhost", 1))
	checks, err = chromedp.Run(ctx, chromedp.Evaluate[[]string]("window.checks", chromedp.EvalAwaitPromise))
	require.NoError(t, err)
	require.Len(t, checks, 1)
	assert.Contains(t, checks[0], "Connect JSON: ConnectError: [unknown] Failed to fetch")
	// Nor does it change anything by requests that a browser sends without asking.
	for _, kind := range []string{"text/plain", "application/x-www-form-urlencoded", "application/json"} {
		blind := `fetch("http://` + h.Addrs.HTTP + `/theater.v1.CatalogService/TakeDownFilm", {method: "POST", mode: "no-cors",
			headers: {"Content-Type": "` + kind + `"}, body: JSON.stringify({name: "films/a", reason: "because I can"})}).then(r => r.type)`
		seen, err := chromedp.Run(ctx, chromedp.Evaluate[string](blind, chromedp.EvalAwaitPromise))
		require.NoError(t, err)
		assert.Equal(t, "opaque", seen)
	}
	film, err := h.Catalog.GetFilm(t.Context(), &pb.GetFilmRequest{Name: "films/a"})
	require.NoError(t, err)
	assert.Equal(t, pb.Film_PUBLISHED, film.GetState())
}
