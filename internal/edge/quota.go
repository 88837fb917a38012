package edge

import (
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
)

const (
	// meteredCallers bounds the callers whose use is remembered.
	meteredCallers = 100_000
	// burst is how far ahead of its rate a caller may be.
	burst = 2 * time.Second
)

// quota gives each caller so many calls a second (the generic cell rate algorithm: one
// number per caller, the time at which its calls so far are paid for).
type quota struct {
	interval time.Duration
	paid     *otter.Cache[string, *atomic.Int64]
}

// newQuota gives nil, which lets everything pass, for a rate of 0.
func newQuota(perSecond float64) (*quota, error) {
	if perSecond <= 0 {
		return nil, nil
	}
	paid, err := otter.New(&otter.Options[string, *atomic.Int64]{MaximumSize: meteredCallers})
	if err != nil {
		return nil, err
	}
	return &quota{interval: time.Duration(float64(time.Second) / perSecond), paid: paid}, nil
}

// take charges a call to a caller.
func (q *quota) take(caller string, now time.Time) error {
	if q == nil {
		return nil
	}
	paid, ok := q.paid.GetIfPresent(caller)
	if !ok {
		paid, _ = q.paid.SetIfAbsent(caller, new(atomic.Int64))
	}
	for {
		was := paid.Load()
		next := max(was, now.UnixNano()) + int64(q.interval)
		if ahead := time.Duration(next - now.UnixNano()); ahead > max(burst, q.interval) {
			f := fault.New(fault.ResourceExhausted, pb.ErrorReason_QUOTA_EXCEEDED, "your quota is used up for the moment")
			f.RetryAfter = ahead - max(burst, q.interval)
			return f
		}
		if paid.CompareAndSwap(was, next) {
			return nil
		}
	}
}
