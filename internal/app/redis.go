package app

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/extra/redisotel/v9"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// EmbeddedRedis is the setting for a Redis inside this process.
const EmbeddedRedis = "embedded"

// OpenRedis gives a client for a setting, and what closes it. Nothing is asked of the server
// yet: the service starts, and goes on, without Redis. The forms:
//
//	embedded
//	redis://[USER:PASSWORD@]HOST:PORT[/DB]
//	redis+sentinel://[USER:PASSWORD@]HOST:PORT[,HOST:PORT…][/DB]?master_name=NAME
//	redis+cluster://[USER:PASSWORD@]HOST:PORT[,HOST:PORT…]
//
// with rediss in place of redis for TLS. Errors never repeat the password.
func OpenRedis(setting string) (redis.UniversalClient, func() error, error) {
	var server *miniredis.Miniredis
	if setting == EmbeddedRedis {
		server = miniredis.NewMiniRedis()
		if err := server.Start(); err != nil {
			return nil, nil, fmt.Errorf("embedded redis: %w", err)
		}
		setting = "redis://" + server.Addr()
		slog.Info("Redis is embedded in this process: fit for one machine, gone when it stops")
	}
	options, err := redisOptions(setting)
	if err != nil {
		return nil, nil, err
	}
	redis.SetLogger(libraryLog{})
	client := redis.NewUniversalClient(options)
	provider := followOnly{otel.GetTracerProvider()}
	if err := redisotel.InstrumentTracing(client, redisotel.WithTracerProvider(provider), redisotel.WithDBStatement(false)); err != nil {
		return nil, nil, fmt.Errorf("redis tracing: %w", err)
	}
	return client, func() error {
		err := client.Close()
		if server != nil {
			server.Close()
		}
		return err
	}, nil
}

// libraryLog takes in what the client library would print on stderr beside our logs. What
// matters of it the callers report themselves, with less repetition.
type libraryLog struct{}

func (libraryLog) Printf(ctx context.Context, format string, args ...any) {
	if slog.Default().Enabled(ctx, slog.LevelDebug) {
		slog.DebugContext(ctx, fmt.Sprintf(format, args...))
	}
}

func redisOptions(setting string) (*redis.UniversalOptions, error) {
	u, err := url.Parse(setting)
	if err != nil {
		// The error of url.Parse repeats the whole text, password and all.
		return nil, fmt.Errorf("redis: the address does not parse as a URL")
	}
	o := &redis.UniversalOptions{
		Addrs:    strings.Split(u.Host, ","),
		Username: u.User.Username(),
		// With the defaults a dead server is reported after 1.8 s and a paused one holds a
		// call for 5 s. Whoever calls has a deadline of its own, which counts only if enabled.
		ContextTimeoutEnabled:    true,
		DialTimeout:              500 * time.Millisecond,
		ReadTimeout:              500 * time.Millisecond,
		WriteTimeout:             500 * time.Millisecond,
		PoolTimeout:              500 * time.Millisecond,
		MaxRetries:               -1,
		DialerRetries:            1,
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	o.Password, _ = u.User.Password()
	base, kind, _ := strings.Cut(u.Scheme, "+")
	switch base {
	case "redis":
	case "rediss":
		host, _, _ := strings.Cut(o.Addrs[0], ":")
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
	default:
		return nil, fmt.Errorf("redis: scheme %q: want embedded, redis or rediss, with +sentinel or +cluster", u.Scheme)
	}
	query := u.Query()
	switch kind {
	case "":
		if len(o.Addrs) > 1 {
			return nil, fmt.Errorf("redis: several addresses: say %s+sentinel or %s+cluster", base, base)
		}
	case "sentinel":
		if o.MasterName = query.Get("master_name"); o.MasterName == "" {
			return nil, fmt.Errorf("redis: sentinel: ?master_name= is missing")
		}
		query.Del("master_name")
	case "cluster":
		o.IsClusterMode = true
	default:
		return nil, fmt.Errorf("redis: scheme %q: want %s, %s+sentinel or %s+cluster", u.Scheme, base, base, base)
	}
	for i, a := range o.Addrs {
		if a == "" {
			return nil, fmt.Errorf("redis: the address has no host")
		}
		if u.Port() == "" && !strings.Contains(a, ":") {
			o.Addrs[i] = a + ":6379"
		}
	}
	if db := strings.Trim(u.Path, "/"); db != "" {
		if _, err := fmt.Sscanf(db, "%d", &o.DB); err != nil || kind == "cluster" {
			return nil, fmt.Errorf("redis: /%s: want the number of a database, and none with a cluster", db)
		}
	}
	for name := range query {
		return nil, fmt.Errorf("redis: unknown parameter %q", name)
	}
	return o, nil
}

// followOnly makes spans below a span and never begins a trace: the polls that run all the
// time, asked for by nobody, would otherwise be most of what a collector stores.
type followOnly struct {
	trace.TracerProvider
}

func (p followOnly) Tracer(name string, options ...trace.TracerOption) trace.Tracer {
	return followOnlyTracer{p.TracerProvider.Tracer(name, options...)}
}

type followOnlyTracer struct {
	trace.Tracer
}

func (t followOnlyTracer) Start(ctx context.Context, name string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return ctx, noop.Span{}
	}
	return t.Tracer.Start(ctx, name, options...)
}
