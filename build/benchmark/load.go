package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

const (
	connections = 4
	inFlight    = 8
)

// variant is a server under measurement.
type variant struct {
	name    string
	cmd     *exec.Cmd
	addrs   addrs
	clients []*client
}

type addrs struct{ GRPC, Usage string }

// usage is what a process has used up.
type usage struct {
	CPU     time.Duration
	Mallocs uint64
}

func (v *variant) stop() {
	for _, c := range v.clients {
		c.conn.Close()
	}
	// A variant has nothing to lose; its end is not waited for in peace.
	_ = v.cmd.Process.Signal(os.Interrupt)
	_ = v.cmd.Wait()
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

// load calls for a while with all connections and gives the server's cost per request.
func (v *variant) load(ctx context.Context, c call, length time.Duration) (figure, error) {
	before, err := v.usage(ctx)
	if err != nil {
		return figure{}, err
	}
	var count atomic.Int64
	var failed atomic.Value
	var wg sync.WaitGroup
	began := time.Now()
	for _, client := range v.clients {
		for range inFlight {
			wg.Go(func() {
				for time.Since(began) < length {
					reply, err := client.raw(ctx, c.Method, c.Request)
					if err == nil && len(reply) < len(c.Reply)*9/10 {
						err = fmt.Errorf("answered %d bytes, not %d", len(reply), len(c.Reply))
					}
					if err != nil {
						failed.CompareAndSwap(nil, err)
						return
					}
					count.Add(1)
				}
			})
		}
	}
	wg.Wait()
	took := time.Since(began)
	after, err := v.usage(ctx)
	if err != nil {
		return figure{}, err
	}
	if err, ok := failed.Load().(error); ok {
		return figure{}, err
	}
	n := float64(count.Load())
	if n == 0 {
		return figure{}, errors.New("no request was answered")
	}
	return figure{
		cpu:         float64((after.CPU - before.CPU).Microseconds()) / n,
		allocations: float64(after.Mallocs-before.Mallocs) / n,
		rate:        n / took.Seconds(),
	}, nil
}

// client is one connection that passes bytes as they are.
type client struct{ conn *grpc.ClientConn }

func dial(addr string) (*client, error) {
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(bytesCodec{})))
	return &client{conn}, err
}

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
