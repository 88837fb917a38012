package app

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/edge"
	"github.com/aitheater/theater/internal/sqldb"
	"github.com/aitheater/theater/internal/telemetry"
)

// Config is what a service is made of. The zero value of each optional part works.
type Config struct {
	// Store is "sqlite:PATH" or "postgres://…".
	Store string
	// Redis is EmbeddedRedis or a form of OpenRedis.
	Redis string
	// Auth is "open", or one or more of "static:FILE" and "oidc" with commas.
	Auth string
	// OIDC is the provider of "oidc".
	OIDC auth.OIDCConfig
	// TLS is for the gRPC and HTTP ports; optional.
	TLS *TLSFiles
	// Quota is how many calls a second each caller may make; 0 = any number.
	Quota float64
	// Generations is the least time between two generations of the charts; 0 = 10 s.
	Generations time.Duration
	// SecretFile holds root secrets, one a line, the first of which seals; empty = the
	// secret made with the database.
	SecretFile string
	// GRPCAddr, HTTPAddr and MetricsAddr are HOST:PORT; port 0 picks a free one.
	GRPCAddr, HTTPAddr, MetricsAddr string
	// Reflection answers gRPC reflection.
	Reflection bool
	// Strict refuses viewers after 1 s without confirmation that this replica is up to date.
	Strict bool
	// Origins are the web origins whose pages may call; optional.
	Origins []string
	// Pages are further handlers of the HTTP port, by pattern of http.ServeMux; optional.
	Pages map[string]http.Handler
	// Telemetry is what was set up for the process; optional.
	Telemetry *telemetry.Telemetry
}

// TLSFiles are the certificates of the gRPC and HTTP ports.
type TLSFiles = edge.TLSFiles

// Addrs are the addresses a running service listens on.
type Addrs = edge.Addresses

// IsPostgres reports whether a store setting names a PostgreSQL server.
func IsPostgres(store string) bool {
	return strings.HasPrefix(store, "postgres://") || strings.HasPrefix(store, "postgresql://")
}

// CheckStore says what is wrong with a store setting, before anything is opened.
func CheckStore(store string) error {
	if err := sqldb.Check(store); err != nil {
		return fmt.Errorf("--store: %w", err)
	}
	return nil
}

// Migrate brings the tables of a store up to date.
func Migrate(ctx context.Context, store string) error {
	db, err := sqldb.Open(ctx, store)
	if err != nil {
		return err
	}
	return db.Close()
}
