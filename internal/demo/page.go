package demo

import (
	_ "embed"
	"net/http"
)

//go:embed page.html
var page []byte

// Page is a front end of one page: the home page as the viewer chosen on it would get it,
// asked for again every five seconds.
func Page() http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/html; charset=utf-8")
		rw.Header().Set("Content-Security-Policy", "default-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; frame-ancestors 'none'")
		_, _ = rw.Write(page) // a viewer who went away is no error
	})
}
