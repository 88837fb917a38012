package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/catalog"
	"github.com/aitheater/theater/internal/changes"
	"github.com/aitheater/theater/internal/curation"
	"github.com/aitheater/theater/internal/edge"
	"github.com/aitheater/theater/internal/generations"
	"github.com/aitheater/theater/internal/ledger"
	"github.com/aitheater/theater/internal/listing"
	"github.com/aitheater/theater/internal/rank"
	"github.com/aitheater/theater/internal/shelf"
	"github.com/aitheater/theater/internal/signals"
	"github.com/aitheater/theater/internal/sqldb"
	"github.com/aitheater/theater/internal/telemetry"
)

// storeRetry is the time between two attempts to reach the database at the start.
const storeRetry = time.Second

// App is an assembled service.
type App struct {
	logger *slog.Logger
	// closers give back what was opened, in the order of opening.
	closers []func() error

	db       *sqldb.DB
	redis    redis.UniversalClient
	log      *changes.Log
	shelf    *shelf.Shelf
	gens     *generations.Store
	films    *catalog.Service
	pages    *listing.Service
	signal   *signals.Service
	releases *curation.Service
	rank     *rank.Service
	door     *edge.Server
	// provider is nil but with OIDC.
	provider *auth.OIDC

	// loaded is set when catalogue and ranked lists are in memory for the first time.
	loaded atomic.Bool
}

// Open assembles a service: it opens the database, for which it waits until ctx ends, migrates
// it, and listens. Nothing is answered before Run.
func Open(ctx context.Context, c Config) (_ *App, err error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	tel := c.Telemetry
	if tel == nil {
		tel = &telemetry.Telemetry{Log: slog.Default()}
	}
	if c.TLS != nil {
		if err := c.TLS.Check(); err != nil {
			return nil, fmt.Errorf("tls: %w", err)
		}
	}
	c.OIDC.Logger = tel.Log
	var ours auth.Minted
	callers, provider, err := openAuth(c, &ours)
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	a := &App{logger: tel.Log, provider: provider}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Close())
		}
	}()
	if a.db, err = openStore(ctx, c.Store, tel.Log); err != nil {
		return nil, err
	}
	a.closers = append(a.closers, a.db.Close)
	keys, err := openKeys(c.SecretFile, a.db)
	if err != nil {
		return nil, err
	}
	ours.Keys = keys
	client, closeRedis, err := OpenRedis(c.Redis)
	if err != nil {
		return nil, err
	}
	a.redis = client
	a.closers = append(a.closers, closeRedis)

	a.log = changes.New(a.db, uuid.NewString())
	if c.Redis != EmbeddedRedis {
		a.log.Beacon(client, c.Strict)
	}
	a.shelf = shelf.New()
	a.gens = generations.New(a.db, client, keys)
	a.gens.OnStats(a.shelf.SetStats)
	if a.signal, err = signals.New(ctx, ledger.New(a.db), a.db, a.log, a.shelf, keys); err != nil {
		return nil, err
	}
	a.rank = rank.New(a.db, a.log, a.shelf, a.gens, keys)
	a.rank.Config.Interval = c.Generations
	a.films = catalog.New(a.log, a.shelf, keys, a.db.Clock())
	a.films.OnStage(catalog.Stage{Lists: a.gens, Charts: a.rank.Charts(), Sections: listing.Sections()})
	a.pages = listing.New(listing.Config{Shelf: a.shelf, Generations: a.gens, Keys: keys, Clock: a.db.Clock(), Charts: a.rank})
	a.releases = curation.New(curation.Config{
		Log: a.log, Shelf: a.shelf, Generations: a.gens, Keys: keys, Clock: a.db.Clock(),
		Films: a.films, Catalog: a.films, Pages: a.pages, Rankings: a.rank, Charts: a.rank,
		BuiltinCharts: a.rank.Charts(), BuiltinSections: listing.Sections(), BuiltinLayouts: listing.Layouts(),
	})

	a.door, err = edge.New(edge.Config{
		GRPCAddr: c.GRPCAddr, HTTPAddr: c.HTTPAddr, MetricsAddr: c.MetricsAddr,
		Register: a.Register,
		TLS:      c.TLS, Quota: c.Quota,
		Denied: func(ctx context.Context, d edge.Denied) error {
			return a.log.AuditDenied(ctx, changes.Call{Actor: d.Caller, Method: d.Method}, d.Resource, d.Why)
		},
		Auth: callers, Log: a.log, Ready: a.Ready, Degraded: a.Degraded,
		Logger: tel.Log, Calls: tel.Calls, Metrics: tel.Metrics, Reflection: c.Reflection, Origins: c.Origins, Pages: c.Pages, Drain: drainLimit,
	})
	if err != nil {
		return nil, err
	}
	a.films.OnDenied(a.door.NoteDenied)
	unmeasure, err := a.measure(tel)
	if err != nil {
		return nil, err
	}
	a.closers = append(a.closers, unmeasure)
	return a, nil
}

// openStore opens the database, and waits for one that does not answer: a replica that starts
// during an outage is there when that ends. What waiting does not mend, a wrong password say,
// is returned at once.
func openStore(ctx context.Context, url string, logger *slog.Logger) (*sqldb.DB, error) {
	for {
		db, err := sqldb.Open(ctx, url)
		if !sqldb.Away(err) {
			return db, err
		}
		logger.Warn("the database does not answer; trying again until it does", "error", err)
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(storeRetry):
		}
	}
}

// Register registers the services on a server. The service's own ports have the door in
// front of them; a server without it is for those who measure what the door costs.
func (a *App) Register(r grpc.ServiceRegistrar) {
	pb.RegisterCatalogServiceServer(r, a.films)
	r.RegisterService(listing.Desc(a.pages), a.pages)
	pb.RegisterSignalServiceServer(r, a.signal)
	pb.RegisterChartServiceServer(r, a.rank)
	pb.RegisterCurationServiceServer(r, a.releases)
}

// Close gives back what Open took, the last first. Run must have returned.
func (a *App) Close() error {
	var errs []error
	for i := len(a.closers) - 1; i >= 0; i-- {
		errs = append(errs, a.closers[i]())
	}
	a.closers = nil
	return errors.Join(errs...)
}

// Ready reports whether this replica may answer: everything was loaded, and it is not cut
// off from newer state.
func (a *App) Ready() bool { return a.loaded.Load() && a.log.Status().Ready }

// Degraded names what answers lack, empty for nothing.
func (a *App) Degraded() string {
	status := a.log.Status()
	redis := a.redisLack(status)
	if status.Degraded != "" && redis != "" {
		return status.Degraded + "," + redis
	}
	return status.Degraded + redis
}

// redisLack is "redis" where Redis does not answer or takes no writes, else empty.
func (a *App) redisLack(status changes.Status) string {
	if status.RedisRefuses {
		return "redis"
	}
	return a.gens.Degraded()
}

// openKeys reads the root secrets of a file, one a line, or takes the database's own.
func openKeys(file string, db *sqldb.DB) (*auth.Keys, error) {
	if file == "" {
		return auth.NewKeys(db.RootSecret())
	}
	return auth.ReadKeys(file)
}

// openAuth makes what tells callers apart, and gives the identity provider if there is one.
// Where callers are told apart at all, tokens made with the root secret are known too, by the
// keys that ours comes to hold.
func openAuth(c Config, ours *auth.Minted) (_ auth.Authenticator, provider *auth.OIDC, err error) {
	kinds, err := readAuth(c.Auth)
	if err != nil {
		return nil, nil, err
	}
	if kinds.open {
		return auth.Open{}, nil, nil
	}
	all := auth.AnyOf{ours}
	if kinds.oidc {
		if provider, err = auth.NewOIDC(c.OIDC); err != nil {
			return nil, nil, err
		}
		all = append(all, provider)
	}
	for _, file := range kinds.static {
		static, err := auth.ReadStatic(file)
		if err != nil {
			return nil, nil, err
		}
		all = append(all, static)
	}
	return all, provider, nil
}
