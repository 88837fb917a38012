package catalog

import (
	"context"
	"time"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
)

// queued is how many messages may wait for a reader before its patience is measured.
const queued = 64

// partingLimit is how long the last messages may take when the stream is ended from outside.
const partingLimit = 2 * time.Second

// outlet sends a stream's messages from a goroutine of its own, because a transport blocks
// the sender for as long as the reader does not read, and only the handler's return frees it.
type outlet[M any] struct {
	queue chan *M
	ended chan struct{}
	err   error // of the transport, once ended is closed
	slow  time.Duration
}

// newOutlet starts sending. The goroutine ends after finish; where that gave up on a slow
// reader, it ends with the handler, whose return ends the transport's stream.
func newOutlet[M any](send func(*M) error, slow time.Duration) *outlet[M] {
	o := &outlet[M]{queue: make(chan *M, queued), ended: make(chan struct{}), slow: slow}
	go func() {
		defer close(o.ended)
		for m := range o.queue {
			if o.err = send(m); o.err != nil {
				return
			}
		}
	}()
	return o
}

// put queues a message, and fails when the reader has taken nothing for too long.
func (o *outlet[M]) put(ctx context.Context, m *M) error {
	select {
	case o.queue <- m:
		return nil
	default:
	}
	patience := time.NewTimer(o.slow)
	defer patience.Stop()
	select {
	case o.queue <- m:
		return nil
	case <-o.ended:
		return o.err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-patience.C:
		return tooSlow()
	}
}

// offer queues a message if there is room.
func (o *outlet[M]) offer(m *M) {
	select {
	case o.queue <- m:
	default:
	}
}

// finish ends the sending and gives the handler's result: err, or what the transport says of
// the messages still queued. It waits for them as long as the reader is expected to read.
func (o *outlet[M]) finish(ctx context.Context, err error) error {
	close(o.queue)
	patience := o.slow
	switch {
	case fault.Is(err, pb.ErrorReason_OVERLOADED):
		return err
	case ctx.Err() != nil:
		patience = min(patience, partingLimit)
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-o.ended:
		if err == nil {
			err = o.err
		}
	case <-timer.C:
		if err == nil {
			err = tooSlow()
		}
	}
	return err
}

func tooSlow() error {
	return fault.New(fault.ResourceExhausted, pb.ErrorReason_OVERLOADED, "the reader is too slow for this stream; go on from the last resume token read")
}
