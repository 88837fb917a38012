package demo_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/app"
	"github.com/aitheater/theater/internal/demo"
	"github.com/aitheater/theater/internal/theatertest/browser"
	"github.com/aitheater/theater/internal/theatertest/house"
)

// row is a shelf as the page shows it.
type row struct {
	Title string   `json:"title"`
	Films []string `json:"films"`
}

// choose makes a choice on the page as a person does, and gives the rows it then shows. The
// marker goes when the page draws what the choice was answered with.
const choose = `(async () => {
	const main = document.querySelector("main"), marker = document.createElement("i")
	main.append(marker)
	for (const [id, value] of Object.entries({market: %q, audience: %q, language: %q})) {
		const select = document.getElementById(id)
		select.value = value
		if (select.value !== value) throw new Error("no choice " + value)
		select.dispatchEvent(new Event("change"))
	}
	while (marker.isConnected) await new Promise(done => setTimeout(done, 5))
	if (!problem.hidden) throw new Error(problem.textContent)
	return [...main.querySelectorAll("ul")].map(u => ({title: u.previousElementSibling.textContent, films: [...u.querySelectorAll("img")].map(i => i.alt)}))
})()`

// The page shows rows of films to each kind of viewer, and a child no film that is not
// cleared for it.
func TestPageInABrowser(t *testing.T) {
	h := house.Start(t, app.Config{Pages: map[string]http.Handler{"/art/": demo.Art(), "/{$}": demo.Page()}})
	now := time.Now()
	_, err := demo.Load(t.Context(), h.Conn, now)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		page, err := h.Listing.ListRankedFilms(t.Context(), &pb.ListRankedFilmsRequest{Chart: "charts/hot", Viewer: &pb.Viewer{Market: "CN", Audience: pb.Viewer_ADULT}})
		return err == nil && len(page.GetFilms()) == 20
	}, time.Minute, 50*time.Millisecond, "the hot chart never filled")
	films := map[string]*pb.Film{} // by title in either language
	for _, f := range demo.Films(now) {
		for _, l := range f.GetLocalizations() {
			films[l.GetTitle()] = f
		}
	}

	ctx := browser.Open(t)
	require.NoError(t, chromedp.Do(ctx, chromedp.Navigate("http://"+h.Addrs.HTTP+"/")))
	for _, market := range []string{"CN", "US", "GB", "SG"} {
		for _, audience := range []string{"ADULT", "ALL", "AGE_3", "AGE_8", "AGE_12"} {
			for _, language := range []string{"zh", "en"} {
				rows, err := chromedp.Run(ctx, chromedp.Evaluate[[]row](fmt.Sprintf(choose, market, audience, language), chromedp.EvalAwaitPromise))
				require.NoError(t, err, "%s %s %s", market, audience, language)
				shown, notForChildren := map[string]bool{}, 0
				for _, r := range rows {
					assert.NotEmpty(t, r.Title)
					assert.NotEmpty(t, r.Films, "%s for %s in %s", r.Title, audience, market)
					for _, title := range r.Films {
						f := films[title]
						require.NotNil(t, f, "the page shows %q", title)
						shown[f.GetName()] = true
						if !cleared(f, pb.Film_AGE_12) {
							notForChildren++
						}
						if audience != "ADULT" && !cleared(f, pb.Film_AgeBand(pb.Film_AgeBand_value[audience])) {
							t.Errorf("a child (%s) in %s sees %s in %q", audience, market, f.GetName(), r.Title)
						}
					}
				}
				if audience == "ADULT" {
					assert.Greater(t, len(rows), 3, market)
					assert.Greater(t, len(shown), 40, market)
					assert.Positive(t, notForChildren, "else the children's check proves nothing")
				} else {
					assert.NotEmpty(t, shown, "%s for %s", market, audience)
				}
			}
		}
	}
	const posters = `[...document.images].some(i => i.naturalWidth > 0) && ![...document.images].some(i => i.src && i.complete && i.naturalWidth === 0)`
	assert.Eventually(t, func() bool {
		drawn, err := chromedp.Run(ctx, chromedp.Evaluate[bool](posters))
		return err == nil && drawn
	}, 20*time.Second, 50*time.Millisecond, "posters are drawn")
}

// cleared says that the children's desk has cleared a film for a child of this band.
func cleared(f *pb.Film, band pb.Film_AgeBand) bool {
	return f.GetMinorsReview() != nil && max(f.GetMinorsReview().GetAgeBand(), f.GetAgeBand()) <= band
}
