package signals

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/ledger"
	"github.com/aitheater/theater/internal/telemetry"
)

const (
	// maxQueued is how many events wait at the most, about 10 MB of them; at the slowest
	// rate measured that is one second.
	maxQueued = 50_000
	// maxBatch is how many events go into one transaction.
	maxBatch = 2_000
	// maxTraces is how many calls' traces a batch carries on to the fold.
	maxTraces = 16
	// flushTime bounds the writing of what is queued when the service stops.
	flushTime = 5 * time.Second
)

// appender is the ledger as the queue needs it.
type appender interface {
	Append(ctx context.Context, events []ledger.Event, traces []string) error
}

// queue gathers the events of many calls into few transactions. While one is being committed
// the next fills up, so that under load batches are large and an idle service adds no delay.
type queue struct {
	ledger  appender
	metrics *metrics

	mu      sync.Mutex
	waiting []*parcel
	events  int
	closed  bool
	more    chan struct{}
}

// parcel is what one call brought.
type parcel struct {
	events []ledger.Event
	span   trace.SpanContext
	done   chan error
}

func newQueue(l appender, m *metrics) *queue {
	return &queue{ledger: l, metrics: m, more: make(chan struct{}, 1)}
}

// enqueue takes events to be written, or says at once that there is no room or that the service
// stops. The events belong to the queue from then on.
func (q *queue) enqueue(ctx context.Context, events []ledger.Event) (*parcel, error) {
	p := &parcel{events: events, span: trace.SpanContextFromContext(ctx), done: make(chan error, 1)}
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return nil, fault.New(fault.Unavailable, pb.ErrorReason_REPLICA_NOT_READY, "this replica is stopping; try again")
	case q.events+len(events) > maxQueued:
		full := fault.New(fault.ResourceExhausted, pb.ErrorReason_OVERLOADED, "too many events are waiting to be stored; try again later")
		full.RetryAfter = time.Second
		return nil, full
	}
	q.waiting = append(q.waiting, p)
	q.events += len(events)
	select {
	case q.more <- struct{}{}:
	default:
	}
	return p, nil
}

// wait returns when the events are durable, and otherwise with a fault. After a fault they may
// be stored all the same; sending them again is harmless.
func (q *queue) wait(ctx context.Context, p *parcel) error {
	select {
	case err := <-p.done:
		return err
	case <-ctx.Done():
		return contextFault(ctx)
	}
}

func contextFault(ctx context.Context) error {
	if ctx.Err() == context.DeadlineExceeded {
		return fault.New(fault.DeadlineExceeded, pb.ErrorReason_DEADLINE_EXCEEDED, "the call's deadline passed; the events may be stored")
	}
	return fault.New(fault.Cancelled, pb.ErrorReason_CANCELLED, "the call was cancelled; the events may be stored")
}

// run writes until ctx ends; then it takes no more, finishes the transaction under way, and
// writes what is left, all of it within flushTime.
func (q *queue) run(ctx context.Context) {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(flushTime, cancel) })()
	for {
		select {
		case <-ctx.Done():
			q.close()
			for work.Err() == nil && q.commit(work) {
			}
			q.abandon()
			return
		case <-q.more:
			for ctx.Err() == nil && q.commit(work) {
			}
		}
	}
}

func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
}

// abandon answers those whose events could not be written before the end.
func (q *queue) abandon() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, p := range q.waiting {
		p.done <- fault.StoreUnavailable(nil)
	}
	q.waiting, q.events = nil, 0
}

// commit writes one batch and reports whether there was anything to write.
func (q *queue) commit(ctx context.Context) bool {
	batch := q.take()
	if len(batch) == 0 {
		return false
	}
	n := 0
	for _, p := range batch {
		n += len(p.events)
	}
	ctx, span := telemetry.Start(ctx, "signals.commit")
	defer span.End()
	events := make([]ledger.Event, 0, n)
	var traces []string
	for _, p := range batch {
		events = append(events, p.events...)
		if p.span.IsSampled() && len(traces) < maxTraces {
			span.AddLink(trace.Link{SpanContext: p.span})
			traces = append(traces, traceparent(p.span))
		}
	}
	began := time.Now()
	err := q.ledger.Append(ctx, events, traces)
	q.metrics.committed(ctx, len(events), time.Since(began), err)
	if err != nil {
		span.RecordError(err)
	} else {
		q.metrics.head.Store(events[len(events)-1].Seq)
	}
	q.mu.Lock()
	q.events -= n
	q.mu.Unlock()
	for _, p := range batch {
		p.done <- err
	}
	return true
}

// take gives the parcels of the next transaction, in order.
func (q *queue) take() []*parcel {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, events := 0, 0
	for n < len(q.waiting) && (n == 0 || events+len(q.waiting[n].events) <= maxBatch) {
		events += len(q.waiting[n].events)
		n++
	}
	if n == 0 {
		return nil
	}
	batch := q.waiting[:n:n]
	q.waiting = q.waiting[n:]
	return batch
}

// depth is how many events wait or are being written.
func (q *queue) depth() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.events
}

// traceparent is the W3C header of a sampled span.
func traceparent(s trace.SpanContext) string {
	return "00-" + s.TraceID().String() + "-" + s.SpanID().String() + "-01"
}
