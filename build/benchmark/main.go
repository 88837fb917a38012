// Command benchmark compares the server's CPU per request with that of an empty handler that
// answers the same bytes, and with a usual service that reads Redis and marshals per request.
//
// Each variant is a process of its own; load comes from this one: 4 connections with 8
// requests in flight each. Rounds are interleaved, so that what else the machine does hits
// all alike, and medians are taken. Ratios hold on other machines, absolute figures do not.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
)

func main() {
	rounds := flag.Int("rounds", 5, "how often each variant is measured")
	length := flag.Duration("length", time.Second, "how long each time")
	variant := flag.String("variant", "", "(internal) serve a variant")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	if *variant != "" {
		err = serve(ctx, *variant, flag.Arg(0))
	} else {
		err = measure(ctx, *rounds, *length)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchmark:", err)
		os.Exit(1)
	}
}

// call is one request that is measured.
type call struct {
	Name, Method   string
	Request, Reply []byte
	// target is the ratio to the empty handler to stay below.
	target float64
}

var adult = &pb.Viewer{Market: "US", Languages: []string{"en"}, Audience: pb.Viewer_ADULT}

// calls are what is measured; the replies are fetched from ours.
func calls(ctx context.Context, c *client) ([]call, error) {
	const listing = "/theater.v1.ListingService/"
	first := &pb.ListRankedFilmsRequest{Chart: "charts/hot", Viewer: adult, PageSize: 20}
	var page pb.ListRankedFilmsResponse
	if err := c.message(ctx, listing+"ListRankedFilms", first, &page); err != nil {
		return nil, err
	}
	if len(page.GetFilms()) < 20 {
		return nil, fmt.Errorf("the chart has %d films", len(page.GetFilms()))
	}
	further := proto.CloneOf(first)
	further.PageToken = page.GetNextPageToken()
	var names []string
	for _, f := range page.GetFilms() {
		names = append(names, f.GetCard().GetName())
	}
	var list []call
	for _, m := range []struct {
		name, method string
		request      proto.Message
		target       float64
	}{
		{"ListRankedFilms, first page of 20", "ListRankedFilms", first, 1.25},
		{"ListRankedFilms, next page of 20", "ListRankedFilms", further, 1.35},
		{"GetHome, 20 x 20", "GetHome", &pb.GetHomeRequest{Viewer: adult, SectionLimit: 20, CardsPerSection: 20}, 1.5},
		{"GetTitle", "GetTitle", &pb.GetTitleRequest{Name: names[0], Viewer: adult}, 1.5},
		{"BatchGetCards, 20", "BatchGetCards", &pb.BatchGetCardsRequest{Names: names, Viewer: adult}, 1.5},
	} {
		request, err := proto.Marshal(m.request)
		if err != nil {
			return nil, err
		}
		reply, err := c.raw(ctx, listing+m.method, request)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.name, err)
		}
		list = append(list, call{Name: m.name, Method: listing + m.method, Request: request, Reply: reply, target: m.target})
	}
	return list, nil
}

func measure(ctx context.Context, rounds int, length time.Duration) error {
	dir, err := os.MkdirTemp("", "theater-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ours, err := spawn(ctx, "ours", dir)
	if err != nil {
		return err
	}
	defer ours.stop()
	list, err := calls(ctx, ours.clients[0])
	if err != nil {
		return err
	}
	// The others answer what ours answered.
	replies, err := json.Marshal(list)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "replies.json"), replies, 0o600); err != nil {
		return err
	}
	empty, err := spawn(ctx, "empty", dir)
	if err != nil {
		return err
	}
	defer empty.stop()
	usual, err := spawn(ctx, "usual", dir)
	if err != nil {
		return err
	}
	defer usual.stop()

	table := tabwriter.NewWriter(os.Stdout, 2, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "call\tbytes\tserver\tCPU µs/request\t× empty\tallocations\trequests/s\ttarget\t")
	missed := 0
	for i, c := range list {
		variants := []*variant{empty, ours}
		if i == 0 {
			variants = append(variants, usual)
		}
		figures, err := compare(ctx, variants, c, rounds, length)
		if err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
		for v, f := range figures {
			target := ""
			if variants[v] == ours {
				target = fmt.Sprintf("%.2f", c.target)
				if f.ratio > c.target*1.1 {
					target += " MISSED"
					missed++
				}
			}
			fmt.Fprintf(table, "%s\t%d\t%s\t%.1f\t%.2f\t%.0f\t%.0f\t%s\t\n", c.Name, len(c.Reply), variants[v].name, f.cpu, f.ratio, f.allocations, f.rate, target)
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if missed > 0 {
		return fmt.Errorf("%d targets missed by more than 10 %%", missed)
	}
	return nil
}

// figure is what a request costs a server.
type figure struct{ cpu, ratio, allocations, rate float64 }

// compare measures a call on variants, the first of which is the measure of the others.
func compare(ctx context.Context, variants []*variant, c call, rounds int, length time.Duration) ([]figure, error) {
	samples := make([][]figure, len(variants))
	for round := -1; round < rounds; round++ { // the first one warms up
		var base figure
		for i, v := range variants {
			f, err := v.load(ctx, c, length)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", v.name, err)
			}
			if i == 0 {
				base = f
			}
			f.ratio = f.cpu / base.cpu
			if round >= 0 {
				samples[i] = append(samples[i], f)
			}
		}
	}
	result := make([]figure, len(variants))
	for i, s := range samples {
		result[i] = figure{
			median(s, func(f figure) float64 { return f.cpu }), median(s, func(f figure) float64 { return f.ratio }),
			median(s, func(f figure) float64 { return f.allocations }), median(s, func(f figure) float64 { return f.rate }),
		}
	}
	return result, nil
}

func median(s []figure, of func(figure) float64) float64 {
	values := make([]float64, len(s))
	for i, f := range s {
		values[i] = of(f)
	}
	slices.SortFunc(values, cmp.Compare[float64])
	return values[len(values)/2]
}

// spawn starts a variant in a process of its own and connects to it.
func spawn(ctx context.Context, name, dir string) (*variant, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	v := &variant{name: name, cmd: exec.CommandContext(ctx, self, "-variant", name, dir)}
	v.cmd.Stderr = os.Stderr
	v.cmd.Cancel = func() error { return v.cmd.Process.Signal(os.Interrupt) }
	out, err := v.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := v.cmd.Start(); err != nil {
		return nil, err
	}
	if err := json.NewDecoder(out).Decode(&v.addrs); err != nil {
		return nil, errors.Join(fmt.Errorf("%s did not start: %w", name, err), v.cmd.Wait())
	}
	for range connections {
		c, err := dial(v.addrs.GRPC)
		if err != nil {
			return nil, err
		}
		v.clients = append(v.clients, c)
	}
	return v, nil
}
