package edge

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"buf.build/go/protovalidate"
	"golang.org/x/net/netutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"

	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/telemetry"
)

// Revisions is what the door asks of the change log.
type Revisions interface {
	// Applied is the newest revision this process shows.
	Applied() int64
	// Wait returns when this process shows revision, or with an Unavailable fault.
	Wait(ctx context.Context, revision int64, limit time.Duration) error
}

// Config is what the doorway is made of. Fields without "optional" are required.
type Config struct {
	// GRPCAddr, HTTPAddr and MetricsAddr are where to listen; port 0 picks one.
	GRPCAddr, HTTPAddr, MetricsAddr string
	// Register registers the generated services, on all protocols at once.
	Register func(grpc.ServiceRegistrar)
	// Auth tells who calls. auth.Open is refused but on loopback addresses.
	Auth auth.Authenticator
	// TLS is for the gRPC and HTTP ports; optional.
	TLS *TLSFiles
	// Log is for theater-revision and theater-min-revision.
	Log Revisions
	// Ready reports whether this replica may answer; it is asked with every call.
	Ready func() bool
	// Degraded names what answers lack ("redis"), empty for nothing; optional.
	Degraded func() string
	// Logger; optional.
	Logger *slog.Logger
	// Calls instruments the calls (telemetry.Telemetry.Calls); optional.
	Calls *telemetry.Calls
	// Metrics serves /metrics; optional.
	Metrics http.Handler
	// Reflection serves gRPC reflection; optional.
	Reflection bool
	// Origins are the web origins that may call ("https://tv.example", or "*"); optional.
	Origins []string
	// Pages are further handlers of the HTTP port, by pattern of http.ServeMux; optional.
	Pages map[string]http.Handler
	// Quota is how many calls a second each caller may make; 0 = any number.
	Quota float64
	// Denied is told of refused attempts to change something, of each once a minute and of no
	// caller's endlessly; optional.
	Denied func(context.Context, Denied) error
	// Drain is how long calls in flight may take when the server stops; 0 = 20 s.
	Drain time.Duration
	// Stall is how long an HTTP/2 connection may take nothing it is sent; 0 = 15 s.
	Stall time.Duration
}

// Addresses are where the server listens.
type Addresses struct {
	GRPC    string `json:"grpc"`
	HTTP    string `json:"http"`
	Metrics string `json:"metrics"`
}

// Server is the doorway: three listening ports and what is behind them.
type Server struct {
	door     *door
	drain    context.CancelCauseFunc
	grpc     *grpc.Server
	health   *health.Server
	refresh  sync.Mutex
	services []string
	// unaries are our unary methods by their full names.
	unaries map[string]*method
	// certificates is nil without TLS.
	certificates *certificates
	web          *http.Server
	ops          *http.Server
	listeners    [3]net.Listener // gRPC, HTTP, metrics
}

// New checks the configuration and listens; nothing is answered before Serve.
func New(c Config) (_ *Server, err error) {
	if c.Degraded == nil {
		c.Degraded = func() string { return "" }
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Calls == nil {
		c.Calls = telemetry.NewCalls()
	}
	if c.Drain == 0 {
		c.Drain = drainLimit
	}
	if c.Stall == 0 {
		c.Stall = stallLimit
	}
	if auth.IsOpen(c.Auth) {
		for _, addr := range []string{c.GRPCAddr, c.HTTPAddr} {
			if !loopback(addr) {
				return nil, fmt.Errorf("without authentication the service may listen on loopback addresses only, not on %q", addr)
			}
		}
	}
	draining, drain := context.WithCancelCause(context.Background())
	s := &Server{door: &door{Config: c, draining: draining, shed: newShedder()}, drain: drain, health: health.NewServer(), unaries: map[string]*method{}}
	if s.door.quota, err = newQuota(c.Quota); err != nil {
		return nil, err
	}
	if s.door.denials, err = newDenials(c.Denied, c.Logger); err != nil {
		return nil, err
	}
	if err := s.door.shed.observe(); err != nil {
		return nil, err
	}
	options := append(ServerOptions(), grpc.InTapHandle(s.tap))
	if c.TLS != nil {
		if s.certificates, err = newCertificates(*c.TLS, c.Logger); err != nil {
			return nil, err
		}
		options = append(options, grpc.Creds(credentials.NewTLS(s.certificates.config("h2"))))
	}
	s.grpc = grpc.NewServer(options...)
	defer func() {
		if err != nil {
			s.grpc.Stop() // it has workers already
		}
	}()
	web, err := newWeb(c.Logger)
	if err != nil {
		return nil, err
	}
	r := &registrar{server: s, web: web, streaming: map[string]bool{}}
	c.Register(r)
	if r.err != nil {
		return nil, r.err
	}
	if s.door.validator, err = protovalidate.New(protovalidate.WithMessages(r.requests...)); err != nil {
		return nil, err
	}
	healthpb.RegisterHealthServer(r, s.health)
	if c.Reflection {
		reflection.Register(reflected{registrar: r, server: s.grpc})
	}
	s.web = s.webServer(web, r.streaming)
	s.ops = s.opsServer()
	if err := s.listen(c.GRPCAddr, c.HTTPAddr, c.MetricsAddr); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Server) listen(addrs ...string) error {
	for i, addr := range addrs {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			for _, l := range s.listeners[:i] {
				_ = l.Close() // nothing was accepted on it
			}
			return err
		}
		s.listeners[i] = netutil.LimitListener(l, maxConnections)
	}
	return nil
}

// Addresses are where the server listens, with the ports that were picked.
func (s *Server) Addresses() Addresses {
	at := func(i int) string { return s.listeners[i].Addr().String() }
	return Addresses{GRPC: at(0), HTTP: at(1), Metrics: at(2)}
}

// Serve answers until ctx ends, then stops in order: health goes off, no new connection is
// taken, streams are told to end, calls in flight get Config.Drain to finish, and what is
// left is cut. It returns when no handler runs any more, but within Config.Drain and 3 s; with
// the error of a port, if one fails.
func (s *Server) Serve(ctx context.Context) error {
	s.Refresh() // health is true before the first question
	failed := make(chan error, 3)
	go func() { failed <- s.grpc.Serve(s.listeners[0]) }()
	go func() {
		if s.certificates != nil {
			failed <- s.web.ServeTLS(s.listeners[1], "", "")
			return
		}
		failed <- s.web.Serve(s.listeners[1])
	}()
	go func() { failed <- s.ops.Serve(s.listeners[2]) }()
	var tell, watch sync.WaitGroup
	telling, told := context.WithCancel(context.Background())
	if s.door.denials != nil {
		tell.Go(func() { s.door.denials.run(telling) })
	}
	watched, unwatch := context.WithCancel(ctx)
	watch.Go(func() { s.watchReadiness(watched) })
	watch.Go(func() { s.door.shed.run(watched) })
	if s.certificates != nil {
		watch.Go(func() { s.certificates.watch(watched, reloadEvery) })
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	unwatch()
	watch.Wait()
	s.stop()
	told()
	tell.Wait()
	return err
}

// watchReadiness keeps the health service true to Config.Ready.
func (s *Server) watchReadiness(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for was := !s.door.Ready(); ; {
		if is := s.door.Ready(); is != was {
			was = is
			s.Refresh()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Refresh makes the health service say what Config.Ready says now. It does so by itself
// within 100 ms; whoever announces that the server is ready wants it true at once.
func (s *Server) Refresh() {
	s.refresh.Lock()
	defer s.refresh.Unlock()
	status := healthpb.HealthCheckResponse_NOT_SERVING
	if s.door.Ready() {
		status = healthpb.HealthCheckResponse_SERVING
	}
	s.health.SetServingStatus("", status)
	for _, service := range s.services {
		s.health.SetServingStatus(service, status)
	}
}

// stop is the order of the end. The health port goes last: an operator may look until then.
func (s *Server) stop() {
	s.health.Shutdown()
	s.drain(errDraining)
	limit, cancel := context.WithTimeout(context.Background(), s.door.Drain)
	defer cancel()
	var stopped sync.WaitGroup
	stopped.Go(func() {
		// GracefulStop would wait for ever for one stuck stream.
		cut := context.AfterFunc(limit, s.grpc.Stop)
		defer cut()
		s.grpc.GracefulStop()
	})
	stopped.Go(func() { shutdown(limit, s.web) })
	all := make(chan struct{})
	go func() { stopped.Wait(); close(all) }()
	select {
	case <-all:
	case <-time.After(s.door.Drain + cutLimit):
		s.door.Logger.Error("handlers go on after their calls were cut; the process does not wait for them")
	}
	shutdown(limit, s.ops)
}

func shutdown(limit context.Context, server *http.Server) {
	if server.Shutdown(limit) != nil {
		_ = server.Close() // what did not finish in time is cut; there is nobody to tell
	}
}

// loopback reports whether an address can be reached from this machine only.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
