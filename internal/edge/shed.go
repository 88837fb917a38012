package edge

import (
	"context"
	"math/rand/v2"
	"runtime"
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

// scans look at every film there is.
var scans = map[string]bool{"ListFilms": true}

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
	// mostLimit is where shedding never begins, gentleLimit where it stops to tighten as long
	// as nobody is refused: that goroutines wait may be the doing of the machine's other
	// processes, which it would be no use to refuse a few calls for. leastPerProcessor is
	// where it stops in any case.
	mostLimit, gentleLimit, leastPerProcessor = 4096, 32, 4
	// tolerable is how long goroutines may wait for a processor, at the 90th percentile,
	// before the limit tightens. Refusals must be out within 20 ms.
	tolerable = 5 * time.Millisecond
	// adjustEvery is how often the limit is looked at.
	adjustEvery = 50 * time.Millisecond
	// backlog is the work, in time, that may always wait: after a stall of the machine short
	// calls come in hundreds, and are served sooner than their clients would come back.
	backlog = 20 * time.Millisecond
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
// that reads slowly does not look like one.
//
// What it bounds are calls between the reading of their headers and their end, those that
// wait for their message excepted. They must be counted that early: handlers that work in
// memory run to their end once they have a processor, so however long the queue before them
// is, hardly more than a processor's worth of them is ever inside. A call costs five atomic
// additions.
type shedder struct {
	// queued are calls that were let in and whose handler has not begun, low their least
	// number since the last adjustment. inflight are those being served.
	queued, low, inflight atomic.Int64
	peak, limit, streams  atomic.Int64
	// full says that a call did not fit since the last adjustment, served how many ended.
	full   atomic.Bool
	served atomic.Int64
	// waiting are unary calls whose message is not here yet.
	waiting atomic.Int64
	refused [priorities]atomic.Int64
	// refusing meters refusals.
	refusing meter
}

func newShedder() *shedder {
	s := &shedder{}
	s.limit.Store(mostLimit)
	return s
}

// fits reports whether n calls are not too many for one more of a priority to be among them.
func (s *shedder) fits(n int64, p priority) bool {
	if p != vital && n*100 > s.limit.Load()*share[p] {
		s.full.Store(true)
		return false
	}
	if n > s.peak.Load() {
		s.peak.Store(n) // a lost race loses one call of a peak
	}
	return true
}

// load is how many calls are queued or being served.
func (s *shedder) load() int64 { return s.queued.Load() + s.inflight.Load() }

// knock judges a call of which no more than the headers are here. One that is let in is
// queued until begin.
func (s *shedder) knock(p priority) bool {
	if !s.fits(s.load()+1, p) {
		return false
	}
	s.queued.Add(1)
	return true
}

// begin ends the queueing of a call that knocked.
func (s *shedder) begin() {
	if n := s.queued.Add(-1); n < s.low.Load() {
		s.low.Store(n) // a lost race is made good by the next call
	}
}

// enter takes a call in whose message is here, or refuses it.
func (s *shedder) enter(p priority) error {
	s.inflight.Add(1)
	if s.fits(s.load(), p) {
		return nil
	}
	s.inflight.Add(-1)
	s.refused[p].Add(1)
	return overloaded()
}

func (s *shedder) leave() {
	s.inflight.Add(-1)
	s.served.Add(1)
}

// tightened reports whether goroutines have waited too long lately.
func (s *shedder) tightened() bool { return s.limit.Load() < mostLimit }

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
	if !s.fits(s.load()+1, p) {
		s.refused[p].Add(1)
		return overloaded()
	}
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

// adjust sets the limit by how long goroutines waited lately: a fifth off the calls there
// were when they waited too long, half when much too long, else a twentieth more, and no less
// than were served.
func (s *shedder) adjust(waited time.Duration) {
	limit, peak, low := s.limit.Load(), s.peak.Swap(s.load()), s.low.Swap(s.queued.Load())
	served := min(s.served.Swap(0), mostLimit)
	least := int64(gentleLimit)
	if s.full.Swap(false) {
		least = int64(leastPerProcessor * runtime.GOMAXPROCS(0))
	}
	least = max(min(least, limit), served*int64(backlog)/int64(adjustEvery))
	switch {
	case waited > 4*tolerable:
		limit = max(least, min(limit, peak)/2)
	case waited > tolerable:
		limit = max(least, min(limit, peak)*4/5)
	default:
		limit = max(min(mostLimit, limit+1+limit/20), served)
		// A call may end before its handler begins (its deadline passes) and stays counted.
		// Where nobody waits long, the queue is empty now and then: what it never fell below
		// is an error.
		s.queued.Add(-low)
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
