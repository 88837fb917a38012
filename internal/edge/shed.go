package edge

import (
	"context"
	"math/rand/v2"
	"runtime/metrics"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
)

// priority orders calls by who is hurt most when they are refused.
type priority uint8

const (
	// bulk is ingest, imports, exports and editors' lists: their clients wait and repeat.
	bulk priority = iota
	// gets are reads of the catalogue and of charts.
	gets
	// pages are what viewers look at.
	pages
	// vital calls take something off the screens. They are never refused for load.
	vital
	priorities
)

// share is the part of the limit, in percent, that calls in flight may fill before a call of
// a priority is refused.
var share = [priorities]int64{bulk: 50, gets: 80, pages: 100}

// vitals hide something, or stop something from being shown.
var vitals = map[string]bool{
	"TakeDownFilm": true, "WithdrawFilm": true, "DeleteFilm": true, "CancelRelease": true, "RevertRelease": true, "DeleteSection": true, "PurgeViewer": true,
}

func priorityOf(service, name string, reads bool) priority {
	switch {
	case vitals[name]:
		return vital
	case strings.HasSuffix(service, ".ListingService"):
		return pages
	case reads && !strings.HasPrefix(name, "List"):
		return gets
	}
	return bulk
}

const (
	// leastLimit is where shedding stops to tighten, mostLimit where it never begins.
	leastLimit, mostLimit = 16, 4096
	// tolerable is how long goroutines may wait for a processor, at the 90th percentile,
	// before the limit tightens. Refusals must be out within 20 ms.
	tolerable = 5 * time.Millisecond
	// adjustEvery is how often the limit is looked at.
	adjustEvery = 100 * time.Millisecond
	// mostStreams bounds open streams, which hold memory and no processor.
	mostStreams = 2000
	// While more than patience unary calls wait for their message, further ones wait for
	// hasty at the most.
	patience = 1000
	hasty    = 3 * time.Second
)

// shedder refuses calls that could only make the others slower. Its measure is the time
// that goroutines wait for a processor, which the runtime keeps anyway: it rises with every
// kind of overload of this process and with nothing else, so a slow database or a client
// that reads slowly does not look like one. A call costs two atomic additions.
type shedder struct {
	inflight, peak, limit, streams atomic.Int64
	// waiting are unary calls whose message is not here yet.
	waiting atomic.Int64
	refused [priorities]atomic.Int64
}

func newShedder() *shedder {
	s := &shedder{}
	s.limit.Store(mostLimit)
	return s
}

// enter takes a call in, or refuses it.
func (s *shedder) enter(p priority) error {
	n := s.inflight.Add(1)
	if p == vital || n*100 <= s.limit.Load()*share[p] {
		if n > s.peak.Load() {
			s.peak.Store(n) // a lost race loses one call of a peak
		}
		return nil
	}
	s.inflight.Add(-1)
	s.refused[p].Add(1)
	return overloaded()
}

func (s *shedder) leave() { s.inflight.Add(-1) }

// receive receives the message of a unary call. Clients that open calls and send nothing
// hold a goroutine each; when there are many of them, calls get a time limit.
func (s *shedder) receive(in *inbox, message any, decode func(any) error) error {
	defer s.waiting.Add(-1)
	if s.waiting.Add(1) <= patience {
		return in.receive(message, decode)
	}
	// The goroutine ends with the call at the latest, because that ends its stream.
	got := make(chan error, 1)
	go func() { got <- in.receive(message, decode) }()
	limit := time.NewTimer(hasty)
	defer limit.Stop()
	select {
	case err := <-got:
		return err
	case <-limit.C:
		return overloaded()
	}
}

// enterStream takes a stream in. Streams are not calls in flight: most of them wait.
func (s *shedder) enterStream(p priority) error {
	if err := s.enter(p); err != nil {
		return err
	}
	s.leave()
	if s.streams.Add(1) > mostStreams {
		s.streams.Add(-1)
		s.refused[p].Add(1)
		return overloaded()
	}
	return nil
}

func (s *shedder) leaveStream() { s.streams.Add(-1) }

// overloaded spreads the clients' return over a second.
func overloaded() error {
	f := fault.New(fault.ResourceExhausted, pb.ErrorReason_OVERLOADED, "this server has more to do than it can; come back later")
	f.RetryAfter = 500*time.Millisecond + rand.N(time.Second)
	return f
}

// adjust sets the limit by how long goroutines waited lately: a fifth off what was in flight
// when they waited too long, else a twentieth more.
func (s *shedder) adjust(waited time.Duration) {
	limit, peak := s.limit.Load(), s.peak.Swap(s.inflight.Load())
	if waited > tolerable {
		limit = max(leastLimit, min(limit, peak)*4/5)
	} else {
		limit = min(mostLimit, limit+1+limit/20)
	}
	s.limit.Store(limit)
}

// run adjusts until ctx ends.
func (s *shedder) run(ctx context.Context) {
	tick := time.NewTicker(adjustEvery)
	defer tick.Stop()
	var queue runQueue
	queue.wait() // the beginning
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.adjust(queue.wait())
		}
	}
}

// runQueue reads how long goroutines wait for a processor.
type runQueue struct {
	sample [1]metrics.Sample
	before []uint64
}

// wait gives the 90th percentile since the last time.
func (q *runQueue) wait() time.Duration {
	q.sample[0].Name = "/sched/latencies:seconds"
	metrics.Read(q.sample[:])
	if q.sample[0].Value.Kind() != metrics.KindFloat64Histogram {
		return 0
	}
	h := q.sample[0].Value.Float64Histogram()
	total := uint64(0)
	delta := make([]uint64, len(h.Counts))
	for i, n := range h.Counts {
		delta[i] = n
		if q.before != nil {
			delta[i] -= q.before[i]
		}
		total += delta[i]
	}
	q.before = append(q.before[:0], h.Counts...)
	seen := uint64(0)
	for i, n := range delta {
		if seen += n; total > 0 && seen*10 >= total*9 {
			return time.Duration(max(0, h.Buckets[i]) * float64(time.Second))
		}
	}
	return 0
}

// observe exports what the shedder does.
func (s *shedder) observe() error {
	meter := otel.Meter("github.com/aitheater/theater/edge")
	_, err := meter.Int64ObservableGauge("theater.calls.inflight", metric.WithDescription("Calls being served."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error { o.Observe(s.inflight.Load()); return nil }))
	if err != nil {
		return err
	}
	_, err = meter.Int64ObservableGauge("theater.calls.limit", metric.WithDescription("Calls in flight above which calls are refused."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error { o.Observe(s.limit.Load()); return nil }))
	if err != nil {
		return err
	}
	names := [priorities]string{bulk: "bulk", gets: "gets", pages: "pages", vital: "vital"}
	_, err = meter.Int64ObservableCounter("theater.calls.refused", metric.WithDescription("Calls refused because of load."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			for p := range s.refused {
				o.Observe(s.refused[p].Load(), metric.WithAttributes(attribute.String("priority", names[p])))
			}
			return nil
		}))
	return err
}
