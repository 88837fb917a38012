package demo

import (
	"fmt"
	"html"
	"net/http"
	"strings"

	pb "github.com/aitheater/theater/api/theater/v1"
)

// Art draws /art/{film}/poster.svg and /art/{film}/backdrop.svg: the same film looks the
// same on every run, and no two alike.
func Art() http.Handler {
	byID := map[string]work{}
	for _, w := range works() {
		byID[w.id] = w
	}
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
		if len(parts) != 3 || parts[0] != "art" {
			http.NotFound(rw, r)
			return
		}
		w, ok := byID[parts[1]]
		var picture string
		switch {
		case ok && parts[2] == "poster.svg":
			picture = w.poster()
		case ok && parts[2] == "backdrop.svg":
			picture = w.backdrop()
		default:
			http.NotFound(rw, r)
			return
		}
		rw.Header().Set("Content-Type", "image/svg+xml")
		rw.Header().Set("Cache-Control", "public, max-age=86400")
		rw.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
		_, _ = rw.Write([]byte(picture)) // a viewer who went away is no error
	})
}

func (w work) poster() string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 600 900" role="img" aria-label="%s">`, html.EscapeString(w.title["en"]))
	w.scene(&b, 600, 900)
	b.WriteString(`<rect y="640" width="600" height="260" fill="#000" opacity=".38"/>`)
	y := 715
	if zh := w.title["zh-Hans"]; zh != "" {
		fmt.Fprintf(&b, `<text x="44" y="%d" font-family="Noto Sans CJK SC,PingFang SC,Microsoft YaHei,sans-serif" font-size="%d" font-weight="700" fill="#fff">%s</text>`, y, min(62, 512/max(1, len([]rune(zh)))), html.EscapeString(zh))
		y += 52
	}
	for _, line := range wrap(w.title["en"], 26) {
		fmt.Fprintf(&b, `<text x="46" y="%d" font-family="Georgia,serif" font-size="36" fill="#fff">%s</text>`, y, html.EscapeString(line))
		y += 42
	}
	fmt.Fprintf(&b, `<text x="46" y="868" font-family="sans-serif" font-size="22" fill="#fff" opacity=".8">%s · %d min · AI</text></svg>`, html.EscapeString(w.director["en"]), w.minutes)
	return b.String()
}

func (w work) backdrop() string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1280 720" role="img" aria-label="%s">`, html.EscapeString(w.title["en"]))
	w.scene(&b, 1280, 720)
	b.WriteString(`</svg>`)
	return b.String()
}

// scene paints a sky, a sun or moon, and ridges, waves or panels, by kind and name.
func (w work) scene(b *strings.Builder, width, height int) {
	h := w.hash()
	hue, other := h%360, (h/360)%360
	fmt.Fprintf(b, `<defs><linearGradient id="s%d" x1="0" y1="0" x2="0" y2="1"><stop offset="0" stop-color="hsl(%d 60%% 22%%)"/><stop offset="1" stop-color="hsl(%d 70%% 58%%)"/></linearGradient></defs><rect width="%d" height="%d" fill="url(#s%d)"/>`, h, hue, (hue+40+other%60)%360, width, height, h)
	fmt.Fprintf(b, `<circle cx="%d" cy="%d" r="%d" fill="hsl(%d 85%% 78%%)" opacity=".9"/>`, width/4+int(h>>3)%(width/2), height/5+int(h>>7)%(height/6), height/14+int(h>>11)%(height/12), (other+30)%360)
	if w.kind == pb.Film_COMIC {
		for i := range 5 {
			fmt.Fprintf(b, `<rect x="%d" y="%d" width="%d" height="%d" fill="none" stroke="#fff" stroke-width="5" opacity=".35" transform="rotate(%d %d %d)"/>`,
				int(h>>(2*i))%(width*2/3), height/8+i*height/9, width/3, height/5, int(h>>i)%9-4, width/2, height/2)
		}
	}
	for layer := range 4 {
		base := height/2 + layer*height/9
		fmt.Fprintf(b, `<path d="M0 %d`, base)
		for x := 0; x <= 8; x++ {
			rise := int((h>>((x*3+layer*5)%24))%97) * height / 700
			if w.kind == pb.Film_ANIMATION {
				fmt.Fprintf(b, ` S%d %d %d %d`, width*x/8-width/16, base-rise, width*x/8, base-rise/3)
			} else {
				fmt.Fprintf(b, ` L%d %d`, width*x/8, base-rise)
			}
		}
		fmt.Fprintf(b, ` L%d %d L0 %d Z" fill="hsl(%d 55%% %d%%)" opacity=".85"/>`, width, height, height, (hue+uint32(layer)*12)%360, 34-layer*8)
	}
}

// wrap breaks a title into lines of about n letters.
func wrap(text string, n int) []string {
	var lines []string
	for _, word := range strings.Fields(text) {
		if last := len(lines) - 1; last >= 0 && len(lines[last])+1+len(word) <= n {
			lines[last] += " " + word
			continue
		}
		lines = append(lines, word)
	}
	return lines
}
