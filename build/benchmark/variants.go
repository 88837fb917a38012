package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/app"
	"github.com/aitheater/theater/internal/demo"
	"github.com/aitheater/theater/internal/edge"
	"github.com/aitheater/theater/internal/telemetry"
)

// serve runs a variant and prints its addresses when it is ready. Its arguments are the
// run's directory, the address of Redis, and what else the variant wants.
func serve(ctx context.Context, name string, args []string) error {
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	s := &server{dir: args[0], redis: args[1], facts: map[string]float64{}}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // ends with the parent
		cancel()
	}()
	var err error
	if s.usage, err = s.serveUsage(); err != nil {
		return err
	}
	switch {
	case name == "empty":
		return s.empty(ctx)
	case name == "usual":
		return s.usual(ctx)
	case strings.HasPrefix(name, "growth-"):
		n, err := strconv.Atoi(name[len("growth-"):])
		if err != nil {
			return err
		}
		return s.growth(ctx, n)
	case strings.HasPrefix(name, "ours"):
		return s.ours(ctx)
	}
	return fmt.Errorf("no variant %q", name)
}

// server is a variant in its own process.
type server struct {
	dir, redis, usage string
	facts             map[string]float64 // set before ready
}

// ready tells the parent where this variant listens.
func (s *server) ready(a addrs) error {
	a.Usage = s.usage
	return json.NewEncoder(os.Stdout).Encode(a)
}

// serveUsage answers what this process has used, on a port of its own.
func (s *server) serveUsage() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() {
		_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { // ends with the process
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			_ = json.NewEncoder(w).Encode(usage{CPU: used(), Mallocs: m.Mallocs, Facts: s.facts}) // a reader that is gone needs no answer
		}))
	}()
	return l.Addr().String(), nil
}

// used is the processor time this process has used.
func used() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(err) // cannot fail with these arguments
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// ours runs the whole service with the demo's season.
func (s *server) ours(ctx context.Context) (err error) {
	tel, err := telemetry.Setup(ctx, "benchmark")
	if err != nil {
		return err
	}
	defer tel.Shutdown()
	tel.Log = slog.Default()
	dir, err := os.MkdirTemp(s.dir, "store-")
	if err != nil {
		return err
	}
	a, err := app.Open(ctx, app.Config{
		Store: "sqlite:" + filepath.Join(dir, "theater.db"), Redis: "redis://" + s.redis, Auth: "static:" + filepath.Join(s.dir, "callers.json"),
		Quota: 1e6, Telemetry: tel, Generations: time.Second,
		GRPCAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0", MetricsAddr: "127.0.0.1:0",
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	bare := grpc.NewServer(edge.ServerOptions()...)
	a.Register(bare)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() { _ = bare.Serve(l) }() // ends with Stop
	defer bare.Stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err = a.Run(ctx, func(at app.Addrs) {
		go func() {
			if err := load(ctx, at.GRPC); err != nil {
				cancel(err)
			} else if err := s.ready(addrs{GRPC: at.GRPC, HTTP: at.HTTP, Bare: l.Addr().String()}); err != nil {
				cancel(err)
			}
		}()
	})
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// load puts the season in and waits until the chart is full.
func load(ctx context.Context, addr string) error {
	clients, err := dial(addr)
	if err != nil {
		return err
	}
	for _, c := range clients {
		defer c.conn.Close()
	}
	conn := clients[0].conn
	if _, err := demo.Load(ctx, conn, time.Now()); err != nil {
		return err
	}
	request := first()
	request.PageSize = 40
	for range 120 {
		page, err := pb.NewListingServiceClient(conn).ListRankedFilms(ctx, request)
		if err == nil && len(page.GetFilms()) == 40 {
			time.Sleep(5 * time.Second) // the other charts are on their way
			return nil
		}
		time.Sleep(500 * time.Millisecond)
	}
	return errors.New("the chart did not fill in a minute")
}

// methods makes a service of one handler, in which the request is decoded as everywhere.
func methods(handle func(ctx context.Context, method string, decode func(any) error) (any, error)) *grpc.ServiceDesc {
	d := pb.ListingService_ServiceDesc
	d.HandlerType = (*any)(nil)
	d.Methods = nil
	for _, m := range pb.ListingService_ServiceDesc.Methods {
		d.Methods = append(d.Methods, grpc.MethodDesc{MethodName: m.MethodName, Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			return handle(ctx, m.MethodName, decode)
		}})
	}
	return &d
}

// listen serves a service, with the options of ours, until ctx ends.
func (s *server) listen(ctx context.Context, d *grpc.ServiceDesc, impl any) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	g := grpc.NewServer(edge.ServerOptions()...)
	g.RegisterService(d, impl)
	defer context.AfterFunc(ctx, g.Stop)()
	if err := s.ready(addrs{GRPC: l.Addr().String()}); err != nil {
		return err
	}
	return g.Serve(l)
}

func (s *server) replies() ([]call, error) {
	b, err := os.ReadFile(filepath.Join(s.dir, "replies.json"))
	if err != nil {
		return nil, err
	}
	var list []call
	return list, json.Unmarshal(b, &list)
}

// wire is an answer that is already encoded.
type wire []byte

func (w wire) Wire() []byte                  { return w }
func (wire) Message() (proto.Message, error) { return nil, errors.New("never asked for") }

// requestOf makes what the empty handler decodes into.
var requestOf = map[string]func() proto.Message{
	"ListRankedFilms": func() proto.Message { return new(pb.ListRankedFilmsRequest) },
	"GetHome":         func() proto.Message { return new(pb.GetHomeRequest) },
	"GetTitle":        func() proto.Message { return new(pb.GetTitleRequest) },
	"BatchGetCards":   func() proto.Message { return new(pb.BatchGetCardsRequest) },
}

// empty decodes the request and answers bytes it holds.
func (s *server) empty(ctx context.Context) error {
	list, err := s.replies()
	if err != nil {
		return err
	}
	// A first and a further page are told apart by the token, as the real handler would.
	byMethod := map[string]*[2]wire{}
	for _, c := range list {
		name := filepath.Base(c.Method)
		if byMethod[name] == nil {
			byMethod[name] = &[2]wire{c.Reply, c.Reply}
		}
		byMethod[name][1] = c.Reply
	}
	return s.listen(ctx, methods(func(_ context.Context, method string, decode func(any) error) (any, error) {
		request := requestOf[method]()
		if err := decode(request); err != nil {
			return nil, err
		}
		if r, ok := request.(*pb.ListRankedFilmsRequest); ok && r.GetPageToken() == "" {
			return &byMethod[method][0], nil
		}
		return &byMethod[method][1], nil
	}), nil)
}

// usual is how such a service is mostly written: the ranking is a sorted set, a card is a
// value, and each request reads both and marshals the answer. The time Redis itself takes is
// not counted.
func (s *server) usual(ctx context.Context) error {
	list, err := s.replies()
	if err != nil {
		return err
	}
	var page pb.ListRankedFilmsResponse
	if err := proto.Unmarshal(list[0].Reply, &page); err != nil {
		return err
	}
	client := redis.NewClient(&redis.Options{Addr: s.redis, DB: 1, PoolSize: 64})
	defer client.Close()
	for i, f := range page.GetFilms() {
		b, err := proto.Marshal(f)
		if err != nil {
			return err
		}
		name := f.GetCard().GetName()
		if err := client.ZAdd(ctx, "hot:US", redis.Z{Score: float64(-i), Member: name}).Err(); err != nil {
			return err
		}
		if err := client.Set(ctx, name, b, 0).Err(); err != nil {
			return err
		}
	}
	return s.listen(ctx, methods(func(ctx context.Context, method string, decode func(any) error) (any, error) {
		request := new(pb.ListRankedFilmsRequest)
		if err := decode(request); err != nil {
			return nil, err
		}
		names, err := client.ZRangeArgs(ctx, redis.ZRangeArgs{Key: "hot:" + request.GetViewer().GetMarket(), Start: 0, Stop: request.GetPageSize() - 1, Rev: true}).Result()
		if err != nil {
			return nil, err
		}
		values, err := client.MGet(ctx, names...).Result()
		if err != nil {
			return nil, err
		}
		answer := &pb.ListRankedFilmsResponse{NextPageToken: page.GetNextPageToken(), Generation: page.GetGeneration()}
		for _, v := range values {
			text, _ := v.(string)
			film := new(pb.RankedFilm)
			if err := proto.Unmarshal([]byte(text), film); err != nil {
				return nil, err
			}
			answer.Films = append(answer.Films, film)
		}
		return answer, nil
	}), nil)
}
