package edge

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/maypok86/otter/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/aitheater/theater/internal/auth"
)

// Denied is an editorial attempt that was refused for lack of permission.
type Denied struct {
	// Caller is who tried, Method what, for example "theater.v1.CatalogService/CreateFilm",
	// Resource on what, for example "films/a", empty where the request was not looked at, and
	// Why is what the caller was told.
	Caller, Method, Resource, Why string
}

const (
	// deniedEvery is how often the same attempt of the same caller is told again, and
	// mostDenied how many attempts of a caller are told in that time, or at once: whoever may
	// not write must not be able to fill the audit either. A message of an import may hold as
	// many films.
	deniedEvery = time.Minute
	mostDenied  = 500
	deniedQueue = 2 * mostDenied
	// rememberedAttempts bounds the memory, longestResource each of its keys.
	rememberedAttempts = 10_000
	longestResource    = 200
	// lastWords is how long what is queued may take when the server stops.
	lastWords = 2 * time.Second
)

// denials tells of refused attempts without keeping the refusal waiting.
type denials struct {
	tell  func(context.Context, Denied) error
	queue chan Denied
	// told is when; without an expiry, which would need a goroutine.
	told *otter.Cache[attempt, time.Time]
	rate *otter.Cache[string, *meter]
	log  *slog.Logger
}

// attempt is what makes one attempt the same as another.
type attempt struct{ caller, method, resource string }

func newDenials(tell func(context.Context, Denied) error, log *slog.Logger) (*denials, error) {
	if tell == nil {
		return nil, nil
	}
	told, err := otter.New(&otter.Options[attempt, time.Time]{MaximumSize: rememberedAttempts})
	if err != nil {
		return nil, err
	}
	rate, err := otter.New(&otter.Options[string, *meter]{MaximumSize: rememberedAttempts})
	if err != nil {
		return nil, err
	}
	return &denials{tell: tell, queue: make(chan Denied, deniedQueue), told: told, rate: rate, log: log}, nil
}

// NoteDenied tells Config.Denied that the caller of ctx was refused a part of a call that
// itself went on, such as a film of an import.
func (s *Server) NoteDenied(ctx context.Context, method, resource, why string) {
	s.door.denials.note(ctx, Denied{Caller: auth.CallerFrom(ctx).ID, Method: method, Resource: resource, Why: why})
}

// note queues an attempt. A caller with more of them than are told one by one has one entry
// a minute and method that says so.
func (d *denials) note(ctx context.Context, a Denied) {
	if d == nil || auth.CallerFrom(ctx).Roles == 0 {
		return
	}
	if len(a.Resource) > longestResource {
		a.Resource = strings.ToValidUTF8(a.Resource[:longestResource], "") + "…"
	}
	now := time.Now()
	if d.repeated(a, now) {
		return
	}
	rate, ok := d.rate.GetIfPresent(a.Caller)
	if !ok {
		rate, _ = d.rate.SetIfAbsent(a.Caller, new(meter))
	}
	if rate.take(now, deniedEvery/mostDenied, deniedEvery) > 0 {
		a.Resource, a.Why = "", "further attempts within this minute are not recorded one by one"
		if d.repeated(a, now) {
			return
		}
	}
	select {
	case d.queue <- a:
		d.told.Set(attempt{a.Caller, a.Method, a.Resource}, now)
	default:
		d.log.WarnContext(ctx, "too many denied attempts to tell of each", "caller", a.Caller, "method", a.Method)
	}
}

func (d *denials) repeated(a Denied, now time.Time) bool {
	at, ok := d.told.GetIfPresent(attempt{a.Caller, a.Method, a.Resource})
	return ok && now.Sub(at) < deniedEvery
}

// subject is the name of the resource a request is about, as far as its fields say: its name,
// that of the resource in it, or that of the one it would create. Empty for none.
func subject(request any) string {
	m, ok := request.(proto.Message)
	if !ok {
		return ""
	}
	r := m.ProtoReflect()
	fields := r.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		name, noun, creates := "", "", false
		switch {
		case f.IsList() || f.IsMap():
		case f.Message() != nil:
			if inner := f.Message().Fields().ByName("name"); inner != nil && inner.Kind() == protoreflect.StringKind {
				name = r.Get(f).Message().Get(inner).String()
			}
		case f.Name() == "name":
			name = r.Get(f).String()
		case f.Name() != "request_id":
			if noun, creates = strings.CutSuffix(string(f.Name()), "_id"); creates && r.Has(f) {
				name = noun + "s/" + r.Get(f).String()
			}
		}
		if name != "" {
			return name
		}
	}
	return ""
}

// run tells until ctx ends, and then of what is queued as far as there is time for it.
func (d *denials) run(ctx context.Context) {
	for {
		select {
		case a := <-d.queue:
			d.one(context.Background(), a)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.Background(), lastWords)
			defer cancel()
			for {
				select {
				case a := <-d.queue:
					d.one(last, a)
				default:
					return
				}
			}
		}
	}
}

func (d *denials) one(ctx context.Context, a Denied) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := d.tell(ctx, a); err != nil {
		d.log.Warn("a denied attempt was not recorded", "caller", a.Caller, "method", a.Method, "resource", a.Resource, "error", err)
	}
}
