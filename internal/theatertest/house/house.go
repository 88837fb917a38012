// Package house starts the whole service for tests, in the test's process, the way the
// binary does: through package app, on free ports, on real stores. It stands beside the
// servers of package theatertest and not among them because rooms use those, and a room's
// tests must not import the assembly that imports the room.
package house

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/app"
)

// House is a running service. Its clients are open to everyone and ADMIN.
type House struct {
	t      testing.TB
	config app.Config

	// Addrs are where it listens; another after Restart.
	Addrs app.Addrs
	// Conn is a connection to its gRPC port.
	Conn *grpc.ClientConn

	Catalog  pb.CatalogServiceClient
	Listing  pb.ListingServiceClient
	Signals  pb.SignalServiceClient
	Charts   pb.ChartServiceClient
	Curation pb.CurationServiceClient

	mu   sync.Mutex
	stop func() error
}

// Start opens a service and waits until it is ready. Empty settings are filled for a test:
// SQLite in a temporary folder, embedded Redis, open to everyone, free ports. It stops with
// the test, which fails if the service did not run and stop without error.
func Start(t testing.TB, config app.Config) *House {
	t.Helper()
	fill(&config.Store, "sqlite:"+filepath.Join(t.TempDir(), "theater.db"))
	fill(&config.Redis, app.EmbeddedRedis)
	fill(&config.Auth, "open")
	fill(&config.GRPCAddr, "127.0.0.1:0")
	fill(&config.HTTPAddr, "127.0.0.1:0")
	fill(&config.MetricsAddr, "127.0.0.1:0")
	h := &House{t: t, config: config}
	h.start()
	t.Cleanup(h.Stop)
	return h
}

func fill(s *string, value string) {
	if *s == "" {
		*s = value
	}
}

func (h *House) start() {
	h.t.Helper()
	a, err := app.Open(context.Background(), h.config)
	if err != nil {
		h.t.Fatalf("open: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready := make(chan app.Addrs, 1)
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx, func(addrs app.Addrs) { ready <- addrs }) }()
	select {
	case h.Addrs = <-ready:
	case err := <-ended:
		cancel()
		_ = a.Close()
		h.t.Fatalf("run: %v", err)
	case <-time.After(60 * time.Second):
		cancel()
		h.t.Fatal("not ready after 60 s")
	}
	conn, err := grpc.NewClient(h.Addrs.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		h.t.Fatal(err)
	}
	h.Conn = conn
	h.Catalog, h.Listing, h.Signals = pb.NewCatalogServiceClient(conn), pb.NewListingServiceClient(conn), pb.NewSignalServiceClient(conn)
	h.Charts, h.Curation = pb.NewChartServiceClient(conn), pb.NewCurationServiceClient(conn)
	h.stop = sync.OnceValue(func() error {
		_ = conn.Close()
		cancel()
		err := <-ended
		if closeErr := a.Close(); err == nil {
			err = closeErr
		}
		return err
	})
}

// Stop stops the service in order, as SIGTERM does; again = nothing.
func (h *House) Stop() {
	h.t.Helper()
	h.mu.Lock()
	stop := h.stop
	h.stop = nil
	h.mu.Unlock()
	if stop == nil {
		return
	}
	if err := stop(); err != nil {
		h.t.Errorf("stop: %v", err)
	}
}

// Restart stops the service and starts it again on the same store, on other ports.
func (h *House) Restart() {
	h.t.Helper()
	h.Stop()
	h.start()
}

// JSON posts a request to the HTTP port and gives the status and the parsed answer. method
// is for example "ListingService/ListRankedFilms".
func (h *House) JSON(method string, body any) (int, map[string]any) {
	h.t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		h.t.Fatal(err)
	}
	res, err := http.Post("http://"+h.Addrs.HTTP+"/theater.v1."+method, "application/json", bytes.NewReader(b))
	if err != nil {
		h.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	answer := map[string]any{}
	if err := json.Unmarshal(text, &answer); err != nil {
		h.t.Fatalf("%s: not JSON: %q", method, text)
	}
	return res.StatusCode, answer
}
