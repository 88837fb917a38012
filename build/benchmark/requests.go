package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
)

// call is one request that is measured.
type call struct {
	Name, Method         string
	Request, Reply, JSON []byte
	// target is the ratio to the empty handler to stay below.
	target float64
}

const listingService = "/theater.v1.ListingService/"

var adult = &pb.Viewer{Market: "US", Languages: []string{"en"}, Audience: pb.Viewer_ADULT}

// first asks for the first page of a chart.
func first() *pb.ListRankedFilmsRequest {
	return &pb.ListRankedFilmsRequest{Chart: "charts/hot", Viewer: adult, PageSize: 20}
}

// calls are what is measured; the replies are fetched from ours.
func calls(ctx context.Context, c *client) ([]call, error) {
	var page pb.ListRankedFilmsResponse
	if err := c.message(ctx, listingService+"ListRankedFilms", first(), &page); err != nil {
		return nil, err
	}
	if len(page.GetFilms()) < 20 {
		return nil, fmt.Errorf("the chart has %d films", len(page.GetFilms()))
	}
	further := first()
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
		{"ListRankedFilms, first page of 20", "ListRankedFilms", first(), 1.25},
		{"ListRankedFilms, next page of 20", "ListRankedFilms", further, 1.35},
		{"GetHome, 20 × 20", "GetHome", &pb.GetHomeRequest{Viewer: adult, SectionLimit: 20, CardsPerSection: 20}, 1.5},
		{"GetTitle", "GetTitle", &pb.GetTitleRequest{Name: names[0], Viewer: adult}, 1.5},
		{"BatchGetCards, 20", "BatchGetCards", &pb.BatchGetCardsRequest{Names: names, Viewer: adult}, 1.5},
	} {
		request, err := proto.Marshal(m.request)
		if err != nil {
			return nil, err
		}
		text, err := protojson.Marshal(m.request)
		if err != nil {
			return nil, err
		}
		reply, err := c.raw(ctx, listingService+m.method, request)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.name, err)
		}
		list = append(list, call{Name: m.name, Method: listingService + m.method, Request: request, JSON: text, Reply: reply, target: m.target})
	}
	return list, nil
}

// opened starts ours and the empty handler, which answers what ours answered.
func (b *bench) opened(ctx context.Context) (ours, empty *variant, list []call, err error) {
	if ours, err = b.ours(ctx); err != nil {
		return nil, nil, nil, err
	}
	if list, err = calls(ctx, ours.clients[0]); err != nil {
		return nil, nil, nil, err
	}
	replies, err := json.Marshal(list)
	if err != nil {
		return nil, nil, nil, err
	}
	if err := os.WriteFile(filepath.Join(b.dir, "replies.json"), replies, 0o600); err != nil {
		return nil, nil, nil, err
	}
	empty, err = b.variant(ctx, "empty")
	return ours, empty, list, err
}

// contender is one way to answer a call.
type contender struct {
	name   string
	on     *variant
	do     invoke
	target float64 // 0 = none
	// base is which contender the target is a multiple of.
	base int
}

// requests measures every call at full load.
func requests(ctx context.Context, b *bench, p plan) error {
	ours, empty, list, err := b.opened(ctx)
	if err != nil {
		return err
	}
	usual, err := b.variant(ctx, "usual")
	if err != nil {
		return err
	}
	t := b.table("requests", "call", "bytes", "server", "CPU µs/request", "× empty", "allocations", "requests/s", "target")
	for i, c := range list {
		contenders := []contender{{name: "empty", on: empty, do: native(empty.clients, c)}, {name: "ours", on: ours, do: native(ours.clients, c), target: c.target}}
		if i == 0 {
			contenders = append(contenders,
				contender{name: "ours, without the door", on: ours, do: native(ours.bare, c), target: 1.12},
				contender{name: "ours, Connect JSON", on: ours, do: connectJSON(ours.addrs.HTTP, c), target: 3, base: 1},
				contender{name: "usual", on: usual, do: native(usual.clients, c)})
		}
		figures, err := compare(ctx, contenders, p)
		if err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
		for k, f := range figures {
			t.bar(c.Name+": "+contenders[k].name, f.ratio)
			t.row(c.Name, fmt.Sprint(len(c.Reply)), contenders[k].name, fmt.Sprintf("%.1f", f.cpu), fmt.Sprintf("%.2f", f.ratio),
				fmt.Sprintf("%.0f", f.allocations), fmt.Sprintf("%.0f", f.rate), t.verdict(f.ratio, contenders[k].target*figures[contenders[k].base].ratio))
		}
	}
	return t.print()
}

// tracing measures what telemetry costs.
func tracing(ctx context.Context, b *bench, p plan) error {
	ours, empty, list, err := b.opened(ctx)
	if err != nil {
		return err
	}
	c := list[0]
	contenders := []contender{{name: "empty", on: empty, do: native(empty.clients, c)}, {name: "1 % traced", on: ours, do: native(ours.clients, c), target: c.target}}
	for _, v := range []struct {
		name   string
		env    []string
		target float64
	}{
		{"off", nil, c.target},
		{"1 % traced, collector dead", traced("http://127.0.0.1:1", "0.01"), c.target},
		{"100 % traced", traced(b.collector, "1"), 0},
	} {
		started, err := b.variant(ctx, "ours-"+v.name, v.env...)
		if err != nil {
			return err
		}
		contenders = append(contenders, contender{name: v.name, on: started, do: native(started.clients, c), target: v.target})
	}
	figures, err := compare(ctx, contenders, p)
	if err != nil {
		return err
	}
	t := b.table("telemetry", "telemetry", "CPU µs/request", "× empty", "allocations", "target")
	for k, f := range figures {
		t.row(contenders[k].name, fmt.Sprintf("%.1f", f.cpu), fmt.Sprintf("%.2f", f.ratio), fmt.Sprintf("%.0f", f.allocations), t.verdict(f.ratio, contenders[k].target))
	}
	return t.print()
}

// compare measures contenders, the first of which is the measure of the others. Rounds are
// interleaved, so that what else the machine does hits all alike, and medians are taken.
func compare(ctx context.Context, contenders []contender, p plan) ([]figure, error) {
	samples := make([][]figure, len(contenders))
	for round := -1; round < p.rounds; round++ { // the first one warms up
		var base figure
		for i, c := range contenders {
			f, err := c.on.saturate(ctx, c.do, p.length)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
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
	result := make([]figure, len(contenders))
	for i, s := range samples {
		result[i] = figure{
			median(s, func(f figure) float64 { return f.cpu }), median(s, func(f figure) float64 { return f.ratio }),
			median(s, func(f figure) float64 { return f.allocations }), median(s, func(f figure) float64 { return f.rate }),
		}
	}
	return result, nil
}

func median[T any](s []T, of func(T) float64) float64 {
	values := make([]float64, len(s))
	for i, f := range s {
		values[i] = of(f)
	}
	slices.SortFunc(values, cmp.Compare[float64])
	return values[len(values)/2]
}

// commands counts what Redis is asked while the service idles, and at full load.
func commands(ctx context.Context, b *bench, p plan) error {
	ours, _, list, err := b.opened(ctx)
	if err != nil {
		return err
	}
	t := b.table("redis", "requests/s", "Redis commands/s", "target")
	// Medians: once a minute all lists are looked at, whoever asks for them.
	const windows, length = 5, 2 * time.Second
	samples := map[bool][]figure{}
	for range windows {
		for _, loaded := range []bool{false, true} {
			before, err := b.asked(ctx)
			if err != nil {
				return err
			}
			var f figure
			if loaded {
				if f, err = ours.saturate(ctx, native(ours.clients, list[0]), length); err != nil {
					return err
				}
			} else {
				time.Sleep(length)
			}
			after, err := b.asked(ctx)
			if err != nil {
				return err
			}
			f.ratio = (after - before) / length.Seconds()
			samples[loaded] = append(samples[loaded], f)
		}
	}
	idle := median(samples[false], func(f figure) float64 { return f.ratio })
	busy := median(samples[true], func(f figure) float64 { return f.ratio })
	t.row("0", fmt.Sprintf("%.1f", idle), "")
	// Both are counts of a few timers: a beat more or less is no request's doing.
	t.row(fmt.Sprintf("%.0f", median(samples[true], func(f figure) float64 { return f.rate })), fmt.Sprintf("%.1f", busy), t.verdict(busy, idle+2))
	return t.print()
}
