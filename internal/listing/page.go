package listing

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/maypok86/otter/v2"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/generations"
	"github.com/aitheater/theater/internal/shelf"
)

// maxPageBytes bounds what all kept pages weigh together.
const maxPageBytes = 128 << 20

// key is everything an answer depends on that the client and its credentials decide.
type key struct {
	method    string
	name      string // chart, page, section or film
	genre     string
	market    string
	languages string
	token     string
	content   pb.Film_ContentType
	audience  pb.Viewer_Audience
	band      pb.Film_AgeBand
	size      int32
	sections  int32
}

// keyOf begins a key with the viewer's part.
func keyOf(method, name string, v *pb.Viewer) key {
	return key{method: method, name: name, market: v.GetMarket(), languages: join(v.GetLanguages()), audience: v.GetAudience(), band: v.GetAgeBand()}
}

// join is injective: two lists of tags give one string only if they are equal.
func join(tags []string) string {
	switch len(tags) {
	case 0:
		return ""
	case 1:
		if !strings.ContainsAny(tags[0], ",\\") {
			return tags[0]
		}
	}
	var b strings.Builder
	for _, tag := range tags {
		for _, c := range []byte(tag) {
			if c == ',' || c == '\\' {
				b.WriteByte('\\')
			}
			b.WriteByte(c)
		}
		b.WriteByte(',')
	}
	return b.String()
}

// stamp is a film a page looked at, and the film's version before it looked.
type stamp struct {
	version uint64
	slot    uint32
}

// origin is a list an answer was made from. It does not hold the list, which would then be kept
// as long as the page.
type origin struct {
	chart  string
	number int64 // 0 = there was none
	trace  [16]byte
	span   [8]byte
	// newest says that the answer is right only while the list is the chart's newest; the pages
	// of a chain stay on the list they began with.
	newest bool
}

func originOf(chart string, l *generations.List, newest bool) origin {
	o := origin{chart: chart, newest: newest}
	if l != nil {
		o.number, o.trace, o.span = l.Number, l.TraceID, l.SpanID
	}
	return o
}

// page is an encoded answer and everything it is right under. It never changes.
type page struct {
	wire    []byte
	decode  func() proto.Message // an empty message to decode into
	seen    []stamp
	origins []origin
	rules   []ruleUse
	title   *title
	edge    int64 // microseconds since 1970: from then on it is not served
	editor  int64 // editorial revision
	unknown bool  // a film was named that is not in the catalogue
	// revision is what the page was made from, or was found right at since. The field revision
	// of a home page begins at body and is its end: that number moves with every write, the page
	// does not.
	revision int64
	body     int
}

// title is what a title page depends on beside its film.
type title struct {
	slot   uint32
	viewer *shelf.Viewer
	ranks  []int32 // by built-in chart; 0 = none
}

// Wire implements Reply.
func (p *page) Wire() []byte { return p.wire }

// Message implements Reply.
func (p *page) Message() (proto.Message, error) {
	m := p.decode()
	return m, proto.Unmarshal(p.wire, m)
}

// pages keeps encoded answers, bounded by their bytes.
type pages struct {
	cache  *otter.Cache[key, *page]
	misses atomic.Int64 // pages made
}

func newPages() *pages {
	return &pages{cache: otter.Must(&otter.Options[key, *page]{
		MaximumWeight: maxPageBytes,
		Weigher: func(k key, p *page) uint32 {
			const fixed = 512
			return uint32(fixed + len(p.wire) + 16*len(p.seen) + len(k.languages) + len(k.token) + len(k.name))
		},
	})}
}

// kept gives the page kept under k if it is still right.
func (s *Service) kept(ctx context.Context, k key) *page {
	p, ok := s.pages.cache.GetIfPresent(k)
	if ok && s.fresh(p, k.market) {
		s.link(ctx, p, true)
		return p
	}
	s.pages.misses.Add(1)
	return nil
}

// keep keeps a page made by g, unless the shelf moved on meanwhile.
func (s *Service) keep(ctx context.Context, k key, g *glance, p *page) {
	s.link(ctx, p, false)
	p.seen, p.unknown, p.edge = slices.Clip(g.seen), g.unknown, g.edge
	p.editor, p.revision = g.snap.EditorialRevision(), g.snap.Revision()
	if s.Shelf.Current() == g.snap {
		s.pages.cache.Set(k, p)
	}
}

// fresh reports whether a page is what would be made now.
func (s *Service) fresh(p *page, market string) bool {
	now := s.Clock.Now()
	if now.UnixMicro() >= p.edge {
		return false
	}
	snap := s.Shelf.Current()
	if snap.EditorialRevision() != p.editor || p.unknown && snap.Revision() != p.revision {
		return false
	}
	for i := range p.origins {
		if o := &p.origins[i]; o.newest && numberOf(s.Generations.Latest(o.chart, market)) != o.number {
			return false
		}
	}
	for i := range p.rules {
		if u := &p.rules[i]; s.rules.list(u.rule, snap, now).id != u.id {
			return false
		}
	}
	if p.title != nil && !slices.Equal(p.title.ranks, s.ranks(snap, p.title.viewer, p.title.slot)) {
		return false
	}
	return unchanged(s.Shelf, p.seen)
}

// revised gives a home page with the snapshot's revision at its end; nil when a film of it
// is newer in the snapshot.
func (p *page) revised(snap *shelf.Snapshot) *page {
	if p.revision >= snap.Revision() {
		return p
	}
	if !older(snap, p.seen, p.revision) {
		return nil
	}
	next := *p
	next.revision = snap.Revision()
	next.wire = appendInt(append(make([]byte, 0, p.body+16), p.wire[:p.body]...), 2, next.revision)
	return &next
}

// older reports whether no film looked at has changed after a revision. It says more than
// versions do, which follow the snapshot by a moment: they tell that an answer may still be
// given now, this tells that it is the snapshot's.
func older(snap *shelf.Snapshot, seen []stamp, revision int64) bool {
	for i := range seen {
		if e := snap.At(seen[i].slot); e == nil || e.Revision > revision {
			return false
		}
	}
	return true
}

func numberOf(l *generations.List) int64 {
	if l == nil {
		return 0
	}
	return l.Number
}

// unchanged reports whether all films are as they were looked at.
func unchanged(sh *shelf.Shelf, seen []stamp) bool {
	for i := range seen {
		if sh.Version(seen[i].slot) != seen[i].version {
			return false
		}
	}
	return true
}

// link ties the request's span to the computations of the lists it is answered from.
func (s *Service) link(ctx context.Context, p *page, hit bool) {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(attribute.Bool("theater.page.kept", hit))
	for _, o := range p.origins {
		if o.trace == [16]byte{} {
			continue
		}
		span.AddLink(trace.Link{
			SpanContext: trace.NewSpanContext(trace.SpanContextConfig{TraceID: o.trace, SpanID: o.span, TraceFlags: trace.FlagsSampled, Remote: true}),
			Attributes:  []attribute.KeyValue{attribute.Int64("theater.generation", o.number)},
		})
	}
}
