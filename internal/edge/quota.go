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

// meter charges for use at a steady rate (the generic cell rate algorithm): it is the time,
// in nanoseconds since 1970, up to which use is paid for.
type meter struct{ atomic.Int64 }

// take charges interval unless that would be more than ahead of now; then it gives how long
// to wait.
func (m *meter) take(now time.Time, interval, ahead time.Duration) time.Duration {
	for {
		was := m.Load()
		next := max(was, now.UnixNano()) + int64(interval)
		if early := time.Duration(next-now.UnixNano()) - ahead; early > 0 {
			return early
		}
		if m.CompareAndSwap(was, next) {
			return 0
		}
	}
}

// quota gives each caller so many calls a second.
type quota struct {
	interval time.Duration
	meters   *otter.Cache[string, *meter]
}

// newQuota gives nil, which lets everything pass, for a rate of 0.
func newQuota(perSecond float64) (*quota, error) {
	if perSecond <= 0 {
		return nil, nil
	}
	meters, err := otter.New(&otter.Options[string, *meter]{MaximumSize: meteredCallers})
	if err != nil {
		return nil, err
	}
	return &quota{interval: time.Duration(float64(time.Second) / perSecond), meters: meters}, nil
}

// take charges a call to a caller.
func (q *quota) take(caller string, now time.Time) error {
	if q == nil {
		return nil
	}
	used, ok := q.meters.GetIfPresent(caller)
	if !ok {
		used, _ = q.meters.SetIfAbsent(caller, new(meter))
	}
	if wait := used.take(now, q.interval, max(burst, q.interval)); wait > 0 {
		f := fault.New(fault.ResourceExhausted, pb.ErrorReason_QUOTA_EXCEEDED, "your quota is used up for the moment")
		f.RetryAfter = wait
		return f
	}
	return nil
}
