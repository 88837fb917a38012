package edge

import (
	"log"
	"log/slog"
	"net/http"
	"slices"
)

// What browsers may send and read across origins.
const (
	corsRequest = "Authorization, Connect-Protocol-Version, Connect-Timeout-Ms, Content-Type, Grpc-Timeout, If-None-Match, " +
		"Theater-Min-Revision, Traceparent, Tracestate, X-Grpc-Web, X-User-Agent"
	corsResponse = "Etag, Grpc-Message, Grpc-Status, Grpc-Status-Details-Bin, Theater-Degraded, Theater-Revision, Theater-Trace-Id, " +
		"Trailer-Theater-Degraded, Trailer-Theater-Revision"
)

// cors lets the listed origins call from browsers. Credentials in cookies are not ours, so
// they are not allowed, and "*" is harmless to those who need a token.
func cors(origins []string, next http.Handler) http.Handler {
	if len(origins) == 0 {
		return next
	}
	any := slices.Contains(origins, "*")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		origin := r.Header.Get("Origin")
		if !any {
			h.Add("Vary", "Origin")
		}
		if origin == "" || !any && !slices.Contains(origins, origin) {
			next.ServeHTTP(w, r)
			return
		}
		if any {
			origin = "*"
		}
		h.Set("Access-Control-Allow-Origin", origin)
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			h.Set("Access-Control-Allow-Methods", "GET, POST")
			h.Set("Access-Control-Allow-Headers", corsRequest)
			h.Set("Access-Control-Max-Age", "7200")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		h.Set("Access-Control-Expose-Headers", corsResponse)
		next.ServeHTTP(w, r)
	})
}

// slogger is for what net/http has to say of connections, which is mostly their clients'
// doing.
func slogger(l *slog.Logger) *log.Logger { return slog.NewLogLogger(l.Handler(), slog.LevelDebug) }
