package edge

import (
	"context"
	"math/rand/v2"
	"runtime"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"
)

const (
	// lingering is the longest deadline of a call that may be refused before it is made.
	lingering = 5 * time.Second
	// refusalsPerProcessor is how many refusals a second a processor has time for: about a
	// sixth of it. refusalsAhead is how far ahead of that rate they may be.
	refusalsPerProcessor = 10_000
	refusalsAhead        = 5 * time.Millisecond
	// Where there is no time for a refusal, its connection is not read for pause, then twice
	// as long, and so on, pauses times at the most: 15 ms, as refusals are due within 20.
	pause  = time.Millisecond
	pauses = 4
)

// refusals are what refused calls are told, made once: each has another delay, so that
// clients do not come back all together.
var refusals = func() (all [64]*status.Status) {
	for i := range all {
		all[i] = Status(faultOf(context.Background(), overloaded()))
	}
	return all
}()

// knock decides about a call of which no more than the headers are here. What does not fit
// is refused at once, as long as that is cheap. To refuse a page costs a third of serving it:
// a client that sends faster than we can refuse is held up by its own connection instead.
func (d *door) knock(m *method) (letIn bool) {
	for i := range pauses {
		if !m.gate.full() && d.shed.knock(m.priority) {
			return true
		}
		if d.shed.refusing.take(time.Now(), time.Second/time.Duration(refusalsPerProcessor*runtime.GOMAXPROCS(0)), refusalsAhead) == 0 {
			break
		}
		time.Sleep(pause << i)
	}
	d.shed.refused[m.priority].Add(1)
	return false
}

// refuse is the answer to a call that was not let in.
func (m *method) refuse() error {
	m.telemetry.Refused(uint32(codes.ResourceExhausted))
	return refusals[rand.IntN(len(refusals))].Err()
}

// refusedKey marks a call that the door is to refuse.
type refusedKey struct{}

// tap lets calls of the gRPC port knock. It runs where grpc-go reads from the connection,
// before a stream is made: a refusal costs a fraction of one in the handler.
func (s *Server) tap(ctx context.Context, info *tap.Info) (context.Context, error) {
	m := s.unaries[info.FullMethodName]
	if m == nil || ctx.Err() != nil {
		return ctx, nil //nolint:nilerr // grpc-go ends a call that is over before its handler
	}
	if s.door.knock(m) {
		return ctx, nil
	}
	// grpc-go keeps the timer of a call that is refused here until it fires: many refusals
	// with deadlines far away would fill the memory.
	if end, ok := ctx.Deadline(); ok && time.Until(end) > lingering {
		return context.WithValue(ctx, refusedKey{}, true), nil
	}
	return ctx, m.refuse()
}

// knocking lets calls of the HTTP port knock before handler. Nothing sees them before they
// have a processor, so where goroutines wait, a call goes to the end of the queue once more:
// those that stand before it are then counted, or refused, before it goes on.
func (d *door) knocking(m *method, handler grpc.MethodHandler) grpc.MethodHandler {
	return func(srv any, ctx context.Context, decode func(any) error, i grpc.UnaryServerInterceptor) (any, error) {
		if !d.knock(m) {
			return nil, m.refuse()
		}
		if d.shed.tightened() {
			runtime.Gosched()
		}
		return handler(srv, ctx, decode, i)
	}
}
