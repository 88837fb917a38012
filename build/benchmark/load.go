package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

const (
	connections = 4
	inFlight    = 8
	// token is what every call of ours shows.
	token = "benchmark-token-0123456789"
)

// variant is a server under measurement.
type variant struct {
	name    string
	cmd     *exec.Cmd
	addrs   addrs
	clients []*client
	// alive ends with this process, however it ends, and takes the variant with it.
	alive io.Closer
	// bare are connections to the same process without the door; nil where it has none.
	bare []*client
}

// addrs are where a variant listens; Bare and HTTP are empty where it does not.
type addrs struct{ GRPC, Bare, HTTP, Usage string }

// usage is what a process has used up.
type usage struct {
	CPU     time.Duration
	Mallocs uint64
	// Facts are what a variant found out by itself.
	Facts map[string]float64
}

// spawn starts a variant in a process of its own and connects to it.
func spawn(ctx context.Context, name string, env []string, args ...string) (*variant, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	v := &variant{name: name, cmd: exec.CommandContext(ctx, self, append([]string{"-variant", name}, args...)...)}
	v.cmd.Stderr = os.Stderr
	v.cmd.Env = append(os.Environ(), env...)
	v.cmd.Cancel = func() error { return v.cmd.Process.Signal(os.Interrupt) }
	out, err := v.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if v.alive, err = v.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := v.cmd.Start(); err != nil {
		return nil, err
	}
	if err := json.NewDecoder(out).Decode(&v.addrs); err != nil {
		return nil, errors.Join(fmt.Errorf("%s did not start: %w", name, err), v.cmd.Wait())
	}
	if v.clients, err = dial(v.addrs.GRPC); err != nil {
		return nil, err
	}
	if v.addrs.Bare != "" {
		v.bare, err = dial(v.addrs.Bare)
	}
	return v, err
}

func (v *variant) stop() error {
	for _, c := range slices.Concat(v.clients, v.bare) {
		_ = c.conn.Close() // nothing is under way any more
	}
	return errors.Join(v.cmd.Process.Signal(os.Interrupt), v.cmd.Wait())
}

func (v *variant) usage(ctx context.Context) (u usage, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+v.addrs.Usage, nil)
	if err != nil {
		return u, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return u, err
	}
	defer res.Body.Close()
	return u, json.NewDecoder(res.Body).Decode(&u)
}

// native calls by gRPC, over the connections in turn.
func native(clients []*client, c call) invoke {
	return func(ctx context.Context, worker int) error {
		reply, err := clients[worker%len(clients)].raw(ctx, c.Method, c.Request)
		if err == nil && len(reply) < len(c.Reply)*9/10 {
			err = fmt.Errorf("answered %d bytes, not %d", len(reply), len(c.Reply))
		}
		return err
	}
}

// connectJSON calls by the Connect protocol with JSON.
func connectJSON(addr string, c call) invoke {
	pool := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections * inFlight}}
	return func(ctx context.Context, _ int) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+c.Method, bytes.NewReader(c.JSON))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Connect-Protocol-Version", "1")
		req.Header.Set("Authorization", "Bearer "+token)
		res, err := pool.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		n, err := io.Copy(io.Discard, res.Body)
		if err == nil && (res.StatusCode != http.StatusOK || n < int64(len(c.Reply))) {
			err = fmt.Errorf("answered %s with %d bytes", res.Status, n)
		}
		return err
	}
}

// invoke makes one call on behalf of a worker.
type invoke func(ctx context.Context, worker int) error

// figure is what a request costs a server.
type figure struct{ cpu, ratio, allocations, rate float64 }

// saturate calls for a while, as fast as answers come, and gives the server's cost per request.
func (v *variant) saturate(ctx context.Context, do invoke, length time.Duration) (figure, error) {
	before, err := v.usage(ctx)
	if err != nil {
		return figure{}, err
	}
	var count atomic.Int64
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	began := time.Now()
	for worker := range connections * inFlight {
		wg.Go(func() {
			for time.Since(began) < length {
				if err := do(ctx, worker); err != nil {
					failed.CompareAndSwap(nil, &err)
					return
				}
				count.Add(1)
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	after, err := v.usage(ctx)
	if err != nil {
		return figure{}, err
	}
	if err := failed.Load(); err != nil {
		return figure{}, *err
	}
	n := float64(max(count.Load(), 1))
	return figure{
		cpu:         float64((after.CPU - before.CPU).Nanoseconds()) / 1e3 / n,
		allocations: float64(after.Mallocs-before.Mallocs) / n,
		rate:        n / took.Seconds(),
	}, nil
}

// pace calls at a rate, whether answers come or not, and gives how long each took from when
// it was due, in ascending order, and how many were refused for load.
func pace(ctx context.Context, do invoke, rate float64, length time.Duration) (took []time.Duration, refused int64, err error) {
	const workers = 256
	all := make([][]time.Duration, workers)
	var failed atomic.Pointer[error]
	var turnedAway atomic.Int64
	var wg sync.WaitGroup
	began := time.Now().Add(10 * time.Millisecond)
	for worker := range workers {
		wg.Go(func() {
			for k := worker; ; k += workers {
				due := began.Add(time.Duration(float64(k) / rate * float64(time.Second)))
				if due.Sub(began) >= length || failed.Load() != nil {
					return
				}
				time.Sleep(time.Until(due))
				err := do(ctx, worker)
				switch {
				case err == nil:
					all[worker] = append(all[worker], time.Since(due))
				case status.Code(err) == codes.ResourceExhausted:
					turnedAway.Add(1)
				default:
					failed.CompareAndSwap(nil, &err)
					return
				}
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return nil, 0, *err
	}
	took = slices.Concat(all...)
	slices.Sort(took)
	return took, turnedAway.Load(), nil
}

// client is one connection that passes bytes as they are.
type client struct{ conn *grpc.ClientConn }

func dial(addr string) (clients []*client, err error) {
	for range connections {
		conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithPerRPCCredentials(bearer{}),
			grpc.WithDefaultCallOptions(grpc.ForceCodecV2(bytesCodec{})))
		if err != nil {
			return nil, err
		}
		clients = append(clients, &client{conn})
	}
	return clients, nil
}

// bearer shows the token, also without TLS.
type bearer struct{}

func (bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + token}, nil
}
func (bearer) RequireTransportSecurity() bool { return false }

func (c *client) raw(ctx context.Context, method string, request []byte) (reply []byte, err error) {
	err = c.conn.Invoke(ctx, method, request, &reply)
	return reply, err
}

func (c *client) message(ctx context.Context, method string, request, reply proto.Message) error {
	b, err := proto.Marshal(request)
	if err != nil {
		return err
	}
	if b, err = c.raw(ctx, method, b); err != nil {
		return err
	}
	return proto.Unmarshal(b, reply)
}

// bytesCodec sends and receives bytes; what else there is, it takes for protobuf.
type bytesCodec struct{}

func (bytesCodec) Name() string { return "proto" }

func (bytesCodec) Marshal(v any) (mem.BufferSlice, error) {
	if b, ok := v.([]byte); ok {
		return mem.BufferSlice{mem.SliceBuffer(b)}, nil
	}
	return encoding.GetCodecV2("proto").Marshal(v)
}

func (bytesCodec) Unmarshal(data mem.BufferSlice, v any) error {
	if b, ok := v.(*[]byte); ok {
		*b = data.Materialize()
		return nil
	}
	return encoding.GetCodecV2("proto").Unmarshal(data, v)
}
