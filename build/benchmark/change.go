package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/aitheater/theater/api/theater/v1"
)

// What goes on while latencies are measured.
const (
	eventsPerSecond = 5000
	filmsPerSecond  = 10
	// loaded is the part of the empty handler's throughput at which both are called.
	loaded = 0.6
)

// change measures latencies at 60 % of the empty handler's throughput while films change,
// events arrive and a generation a second is replaced. The same goes on while the empty
// handler is measured, on the same machine.
func change(ctx context.Context, b *bench, p plan) error {
	ours, empty, list, err := b.opened(ctx)
	if err != nil {
		return err
	}
	c := list[0]
	top, err := empty.saturate(ctx, native(empty.clients, c), 3*p.length)
	if err != nil {
		return err
	}
	rate := loaded * top.rate
	busy, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 2)
	films, err := ranked(ctx, ours.clients[0])
	if err != nil {
		return err
	}
	var work done
	go func() { ended <- work.sendEvents(busy, ours.clients[0], films) }()
	go func() { ended <- work.editFilms(busy, ours.clients[1], films) }()
	time.Sleep(2 * time.Second)
	since := time.Now()
	type sample struct{ p50, p99, worst, ratio float64 }
	var samples [2][]sample
	var refused [2]int64
	for range p.rounds {
		for i, v := range []*variant{empty, ours} {
			calls, n, err := pace(ctx, native(v.clients, c), rate, 3*p.length)
			if err != nil {
				return err
			}
			refused[i] += n
			if len(calls) == 0 {
				return errors.New("no call was made")
			}
			// A call that is not served is later than any.
			at := func(q float64) float64 {
				k := int(q * float64(len(calls)-1+int(n)))
				if k >= len(calls) {
					return math.Inf(1)
				}
				return float64(calls[k].Microseconds()) / 1e3
			}
			s := sample{at(0.5), at(0.99), float64(calls[len(calls)-1].Microseconds()) / 1e3, 1}
			if i == 1 {
				s.ratio = s.p99 / samples[0][len(samples[0])-1].p99
			}
			samples[i] = append(samples[i], s)
		}
	}
	took := time.Since(since).Seconds()
	stop()
	for range cap(ended) {
		if err := <-ended; err != nil && ctx.Err() == nil && status.Code(err) != codes.Canceled {
			return err
		}
	}
	t := b.table("change", "server", "calls/s", "p50 ms", "p99 ms", "p99 × empty", "worst ms", "refused", "target")
	for i, name := range []string{"empty", "ours"} {
		ratio := median(samples[i], func(s sample) float64 { return s.ratio })
		target := ""
		if i == 1 {
			target = t.verdict(ratio, 1.5)
		}
		t.row(name, fmt.Sprintf("%.0f", rate), fmt.Sprintf("%.2f", median(samples[i], func(s sample) float64 { return s.p50 })),
			fmt.Sprintf("%.2f", median(samples[i], func(s sample) float64 { return s.p99 })), fmt.Sprintf("%.2f", ratio),
			fmt.Sprintf("%.1f", median(samples[i], func(s sample) float64 { return s.worst })), fmt.Sprint(refused[i]), target)
	}
	fmt.Fprintf(b.out, "meanwhile %.0f events and %.0f edits a second were taken, %d such calls refused for load\n",
		float64(work.events.Load())/took, float64(work.films.Load())/took, work.refused.Load())
	return t.print()
}

// ranked gives the films of the chart's head.
func ranked(ctx context.Context, c *client) (films []string, err error) {
	var page pb.ListRankedFilmsResponse
	request := first()
	request.PageSize = 60
	err = c.message(ctx, listingService+"ListRankedFilms", request, &page)
	for _, f := range page.GetFilms() {
		films = append(films, f.GetCard().GetName())
	}
	return films, err
}

// done counts what went on meanwhile, and what was refused because of load: bulk is refused
// before viewers wait, and comes again.
type done struct{ events, films, refused atomic.Int64 }

// took counts a call, which did n of something.
func (d *done) took(of *atomic.Int64, n int64, err error) error {
	switch {
	case err == nil:
		of.Add(n)
	case status.Code(err) == codes.ResourceExhausted:
		d.refused.Add(1)
	default:
		return err
	}
	return nil
}

// beat calls f every so often until ctx ends or f fails.
func beat(ctx context.Context, every time.Duration, f func() error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := f(); err != nil {
				return err
			}
		}
	}
}

func (d *done) sendEvents(ctx context.Context, c *client, films []string) error {
	const batch = 100
	return beat(ctx, time.Second*batch/eventsPerSecond, func() error {
		request := &pb.RecordEventsRequest{}
		for range batch {
			request.Events = append(request.Events, &pb.Event{
				Film: films[rand.IntN(len(films))], ViewerKey: "viewer-" + strconv.Itoa(rand.IntN(1_000_000)), Market: "US",
				Kind: pb.Event_PLAY, Value: 60, OccurTime: timestamppb.Now(), Audience: pb.Viewer_ADULT,
			})
		}
		return d.took(&d.events, batch, c.message(ctx, "/theater.v1.SignalService/RecordEvents", request, new(pb.RecordEventsResponse)))
	})
}

func (d *done) editFilms(ctx context.Context, c *client, films []string) error {
	n := 0
	return beat(ctx, time.Second/filmsPerSecond, func() error {
		n++
		request := &pb.UpdateFilmRequest{Film: &pb.Film{Name: films[n%len(films)], Tags: []string{"robots", "take-" + strconv.Itoa(n)}}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"tags"}}}
		return d.took(&d.films, 1, c.message(ctx, "/theater.v1.CatalogService/UpdateFilm", request, new(pb.Film)))
	})
}
