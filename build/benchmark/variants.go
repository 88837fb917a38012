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
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/app"
	"github.com/aitheater/theater/internal/demo"
)

// serve runs a variant and prints its addresses when it is ready.
func serve(ctx context.Context, name, dir string) error {
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	usageAddr, err := serveUsage()
	if err != nil {
		return err
	}
	ready := func(grpcAddr string) error {
		return json.NewEncoder(os.Stdout).Encode(addrs{GRPC: grpcAddr, Usage: usageAddr})
	}
	switch name {
	case "ours":
		return serveOurs(ctx, dir, ready)
	case "empty":
		return serveEmpty(ctx, dir, ready)
	case "usual":
		return serveUsual(ctx, dir, ready)
	}
	return fmt.Errorf("no variant %q", name)
}

// serveUsage answers what this process has used, on a port of its own.
func serveUsage() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { // ends with the process
		var r syscall.Rusage
		var m runtime.MemStats
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		runtime.ReadMemStats(&m)
		cpu := time.Duration(r.Utime.Nano() + r.Stime.Nano())
		_ = json.NewEncoder(w).Encode(usage{CPU: cpu, Mallocs: m.Mallocs}) // a reader that is gone needs no answer
	}))
	return l.Addr().String(), nil
}

// serveOurs runs the whole service with the demo's season.
func serveOurs(ctx context.Context, dir string, ready func(string) error) (err error) {
	a, err := app.Open(ctx, app.Config{
		Store: "sqlite:" + filepath.Join(dir, "theater.db"), Redis: app.EmbeddedRedis, Auth: "open",
		GRPCAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0", MetricsAddr: "127.0.0.1:0",
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err = a.Run(ctx, func(addrs app.Addrs) {
		go func() {
			if err := load(ctx, addrs.GRPC); err != nil {
				cancel(err)
			} else if err := ready(addrs.GRPC); err != nil {
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
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := demo.Load(ctx, conn, time.Now()); err != nil {
		return err
	}
	listing := pb.NewListingServiceClient(conn)
	for range 120 {
		page, err := listing.ListRankedFilms(ctx, &pb.ListRankedFilmsRequest{Chart: "charts/hot", Viewer: adult, PageSize: 40})
		if err == nil && len(page.GetFilms()) == 40 {
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

// listen serves a service until ctx ends.
func listen(ctx context.Context, d *grpc.ServiceDesc, ready func(string) error) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := grpc.NewServer(grpc.ForceServerCodecV2(bytesCodec{}), grpc.NumStreamWorkers(64), grpc.MaxConcurrentStreams(1000))
	s.RegisterService(d, nil)
	defer context.AfterFunc(ctx, s.Stop)()
	if err := ready(l.Addr().String()); err != nil {
		return err
	}
	return s.Serve(l)
}

func replies(dir string) ([]call, error) {
	b, err := os.ReadFile(filepath.Join(dir, "replies.json"))
	if err != nil {
		return nil, err
	}
	var list []call
	return list, json.Unmarshal(b, &list)
}

// requests are what the empty handler decodes.
var requests = map[string]func() proto.Message{
	"ListRankedFilms": func() proto.Message { return new(pb.ListRankedFilmsRequest) },
	"GetHome":         func() proto.Message { return new(pb.GetHomeRequest) },
	"GetTitle":        func() proto.Message { return new(pb.GetTitleRequest) },
	"BatchGetCards":   func() proto.Message { return new(pb.BatchGetCardsRequest) },
}

// serveEmpty decodes the request and answers bytes it holds.
func serveEmpty(ctx context.Context, dir string, ready func(string) error) error {
	list, err := replies(dir)
	if err != nil {
		return err
	}
	// A first and a further page are told apart by the token, as the real handler would.
	byMethod := map[string][2][]byte{}
	for _, c := range list {
		name := filepath.Base(c.Method)
		both := byMethod[name]
		if both[0] == nil {
			both[0] = c.Reply
		}
		both[1] = c.Reply
		byMethod[name] = both
	}
	return listen(ctx, methods(func(_ context.Context, method string, decode func(any) error) (any, error) {
		request := requests[method]()
		if err := decode(request); err != nil {
			return nil, err
		}
		if r, ok := request.(*pb.ListRankedFilmsRequest); ok && r.GetPageToken() == "" {
			return byMethod[method][0], nil
		}
		return byMethod[method][1], nil
	}), ready)
}

// serveUsual is how such a service is mostly written: the ranking is a sorted set, a card is
// a value, and each request reads both and marshals the answer. The time Redis itself takes
// is not counted.
func serveUsual(ctx context.Context, dir string, ready func(string) error) error {
	list, err := replies(dir)
	if err != nil {
		return err
	}
	var page pb.ListRankedFilmsResponse
	if err := proto.Unmarshal(list[0].Reply, &page); err != nil {
		return err
	}
	client, stop, err := startRedis(ctx)
	if err != nil {
		return err
	}
	defer stop()
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
	return listen(ctx, methods(func(ctx context.Context, method string, decode func(any) error) (any, error) {
		request := new(pb.ListRankedFilmsRequest)
		if err := decode(request); err != nil {
			return nil, err
		}
		names, err := client.ZRevRange(ctx, "hot:"+request.GetViewer().GetMarket(), 0, int64(request.GetPageSize()-1)).Result()
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
	}), ready)
}

// startRedis starts a redis-server on a free port.
func startRedis(ctx context.Context) (*redis.Client, func(), error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		return nil, nil, err
	}
	cmd := exec.Command("redis-server", "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--save", "", "--dir", os.TempDir())
	cmd.Stdout, cmd.Stderr = io.Discard, io.Discard
	if err := cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("the usual service needs redis-server: %w", err)
	}
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + strconv.Itoa(port), PoolSize: 64})
	stop := func() {
		_ = client.Close()
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	}
	for range 100 {
		if err = client.Ping(ctx).Err(); err == nil {
			return client, stop, nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	stop()
	return nil, nil, err
}
