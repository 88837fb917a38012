package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// bench is what the parts of a run share.
type bench struct {
	out    io.Writer
	dir    string
	redis  *redis.Client
	tables []*table
	// collector takes what the traced variants export.
	collector string
	closers   []func() error
	spawned   map[string]*variant
}

func newBench(ctx context.Context, out io.Writer) (_ *bench, err error) {
	b := &bench{out: out, spawned: map[string]*variant{}}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	if b.dir, err = os.MkdirTemp("", "theater-bench-"); err != nil {
		return nil, err
	}
	b.closers = append(b.closers, func() error { return os.RemoveAll(b.dir) })
	if err := os.WriteFile(filepath.Join(b.dir, "callers.json"), []byte(`{"`+token+`": {"id": "bench", "roles": ["ADMIN"]}}`), 0o600); err != nil {
		return nil, err
	}
	if err := b.collect(); err != nil {
		return nil, err
	}
	return b, b.startRedis(ctx)
}

// close ends everything, the last begun first. What is measured is out by then, so that an
// error here is nobody's.
func (b *bench) close() {
	for i := len(b.closers) - 1; i >= 0; i-- {
		_ = b.closers[i]()
	}
}

// collect is an OpenTelemetry collector that takes everything and keeps nothing.
func (b *bench) collect() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	b.collector = "http://" + l.Addr().String()
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			w.WriteHeader(http.StatusBadRequest)
		}
	})}
	go func() { _ = server.Serve(l) }() // ends with Close
	b.closers = append(b.closers, server.Close)
	return nil
}

// startRedis starts a redis-server on a free port.
func (b *bench) startRedis(ctx context.Context) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	addr := l.Addr().(*net.TCPAddr)
	if err := l.Close(); err != nil {
		return err
	}
	cmd := exec.Command("redis-server", "--port", strconv.Itoa(addr.Port), "--bind", "127.0.0.1", "--save", "", "--dir", b.dir)
	if err := cmd.Start(); err != nil {
		return errors.Join(errors.New("the benchmark needs redis-server"), err)
	}
	b.redis = redis.NewClient(&redis.Options{Addr: addr.String()})
	b.closers = append(b.closers, func() error { return errors.Join(b.redis.Close(), cmd.Process.Signal(os.Interrupt), cmd.Wait()) })
	for range 100 {
		if err = b.redis.Ping(ctx).Err(); err == nil {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return err
}

// variant gives a variant that runs, started with env if it does not run yet.
func (b *bench) variant(ctx context.Context, name string, env ...string) (*variant, error) {
	if v := b.spawned[name]; v != nil {
		return v, nil
	}
	v, err := spawn(ctx, name, env, b.dir, b.redis.Options().Addr)
	if err != nil {
		return nil, err
	}
	b.spawned[name] = v
	b.closers = append(b.closers, v.stop)
	return v, nil
}

// traced is the environment of a service that exports a part of its traces.
func traced(collector, ratio string) []string {
	return []string{
		"OTEL_TRACES_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", "OTEL_EXPORTER_OTLP_ENDPOINT=" + collector,
		"OTEL_METRICS_EXPORTER=none", "OTEL_LOGS_EXPORTER=none",
		"OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=" + ratio,
	}
}

// ours is the whole service as it is meant to run: callers with tokens, quotas, 1 % traced.
func (b *bench) ours(ctx context.Context) (*variant, error) {
	return b.variant(ctx, "ours", traced(b.collector, "0.01")...)
}

// asked is how many commands Redis was sent so far.
func (b *bench) asked(ctx context.Context) (float64, error) {
	info, err := b.redis.Info(ctx, "stats").Result()
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(info) {
		if count, ok := strings.CutPrefix(strings.TrimSpace(line), "total_commands_processed:"); ok {
			return strconv.ParseFloat(count, 64)
		}
	}
	return 0, errors.New("no count of commands in what Redis says of itself")
}
