package edge

import (
	"net/http"
	"net/http/pprof"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/aitheater/theater/internal/auth"
)

// The limits of the doorway. A client that stays below them never meets one.
const (
	// maxMessage is the largest request: 500 films of 16 KiB.
	maxMessage = 8 << 20
	// maxHeaders is the largest header list; grpc-go would take 16 MiB.
	maxHeaders = 16 << 10
	// maxStreams is how many calls one connection may have in flight.
	maxStreams = 256
	// maxConnections is per port; further ones wait in the backlog.
	maxConnections = 10_000
	// workers are goroutines kept for calls; at or above the calls in flight they save 8 to
	// 17 % of a small call.
	workers = 128
	// stallLimit is how long an HTTP/2 connection may take no byte of what it is sent. It
	// frees those who wait for it where the end of a stream cannot be told either.
	stallLimit = 15 * time.Second
	// drainLimit leaves 5 s of the 25 s a stop may take for the stores.
	drainLimit = 20 * time.Second
	// cutLimit is how long handlers may still run when their calls are already cut.
	cutLimit = 3 * time.Second
)

// ServerOptions are those of the gRPC port. Whoever compares a server with ours gives it the
// same.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ForceServerCodecV2(newCodec()),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxHeaderListSize(maxHeaders),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.NumStreamWorkers(workers),
		grpc.ConnectionTimeout(10 * time.Second),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time: 30 * time.Second, Timeout: 10 * time.Second,
			// Connections move now and then, so that new replicas get their share.
			MaxConnectionAge: time.Hour, MaxConnectionAgeGrace: 10 * time.Minute,
		}),
		grpc.WaitForHandlers(true),
		grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error { return unknownMethod() }),
	}
}

// webServer is the HTTP port: HTTP/1.1 and HTTP/2, without TLS too.
func (s *Server) webServer(w *web, streaming map[string]bool) *http.Server {
	calls := http.NewServeMux()
	w.mount(calls, maxMessage)
	door := httpDoor(calls, streaming)
	mux := http.NewServeMux()
	for _, service := range s.services {
		mux.Handle("/"+service, door)
		mux.Handle("/"+service+"/", door)
	}
	for pattern, handler := range s.door.Pages {
		mux.Handle(pattern, handler)
	}
	if s.door.Pages["/"] == nil {
		mux.Handle("/", door)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	handler := cors(s.door.Origins, unredirected(mux, door))
	if auth.IsOpen(s.door.Auth) {
		handler = local(handler)
	}
	server := &http.Server{
		Handler:           handler,
		Protocols:         protocols,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams, WriteByteTimeout: s.door.Stall},
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    maxHeaders,
		ErrorLog:          slogger(s.door.Logger),
	}
	if s.certificates != nil {
		server.TLSConfig = s.certificates.config("h2", "http/1.1")
	}
	return server
}

// opsServer is the port for operators: metrics, health, and on loopback pprof.
func (s *Server) opsServer() *http.Server {
	mux := http.NewServeMux()
	if s.door.Metrics != nil {
		mux.Handle("GET /metrics", s.door.Metrics)
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "alive") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		switch {
		case s.door.draining.Err() != nil:
			say(w, http.StatusServiceUnavailable, "stopping")
		case !s.door.Ready():
			say(w, http.StatusServiceUnavailable, "not ready")
		default:
			say(w, http.StatusOK, "ready")
		}
	})
	if loopback(s.door.MetricsAddr) {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	return &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    maxHeaders,
		ErrorLog:          slogger(s.door.Logger),
	}
}

func say(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(text + "\n")) // the prober may be gone
}
