package edge

import (
	"context"
	"log/slog"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/aitheater/theater/internal/auth"
)

// Denied is an editorial attempt that was refused for lack of permission.
type Denied struct {
	// Caller is who tried, Method what, for example "theater.v1.CatalogService/CreateFilm",
	// and Why what the caller was told.
	Caller, Method, Why string
}

const (
	// deniedEvery is how often the same attempt of the same caller is told again: whoever may
	// not write must not be able to fill the audit either.
	deniedEvery = time.Minute
	deniedQueue = 256
)

// denials tells of refused attempts without keeping the refusal waiting.
type denials struct {
	tell  func(context.Context, Denied) error
	queue chan Denied
	told  *otter.Cache[Denied, time.Time] // when; without an expiry, which would need a goroutine
	log   *slog.Logger
}

func newDenials(tell func(context.Context, Denied) error, log *slog.Logger) (*denials, error) {
	if tell == nil {
		return nil, nil
	}
	told, err := otter.New(&otter.Options[Denied, time.Time]{MaximumSize: 10_000})
	if err != nil {
		return nil, err
	}
	return &denials{tell: tell, queue: make(chan Denied, deniedQueue), told: told, log: log}, nil
}

// note queues an attempt of a known caller.
func (d *denials) note(ctx context.Context, caller *auth.Caller, method, why string) {
	if d == nil || caller.Roles == 0 {
		return
	}
	attempt := Denied{Caller: caller.ID, Method: method[1:], Why: why}
	if at, again := d.told.GetIfPresent(attempt); again && time.Since(at) < deniedEvery {
		return
	}
	select {
	case d.queue <- attempt:
		d.told.Set(attempt, time.Now())
	default:
		d.log.WarnContext(ctx, "too many denied attempts to tell of each", "caller", attempt.Caller, "method", attempt.Method)
	}
}

// run tells until ctx ends, and then of what is queued.
func (d *denials) run(ctx context.Context) {
	for {
		select {
		case attempt := <-d.queue:
			d.one(attempt)
		case <-ctx.Done():
			for {
				select {
				case attempt := <-d.queue:
					d.one(attempt)
				default:
					return
				}
			}
		}
	}
}

func (d *denials) one(attempt Denied) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := d.tell(ctx, attempt); err != nil {
		d.log.Warn("a denied attempt was not recorded", "caller", attempt.Caller, "method", attempt.Method, "error", err)
	}
}
