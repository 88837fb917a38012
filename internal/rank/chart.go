package rank

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/shelf"
	"github.com/aitheater/theater/internal/texts"
)

const (
	prefix = "charts/"
	day    = 24 * time.Hour
	// horizon is how long events are kept: a chart cannot look back further.
	horizon = 400 * day
	// maxWeight keeps sums of weights far from the largest number.
	maxWeight = 1_000_000
	// maxCharts bounds what the ranker computes for every market.
	maxCharts = 100
)

// builtIn gives the charts every store has, by name. A stored chart of the same name takes
// the place of a built-in one, whole.
func builtIn() []*pb.Chart {
	watched := map[string]float64{"PLAY": 1, "COMPLETE": 2, "LIKE": 3, "SHARE": 4}
	charts := []*pb.Chart{
		{Name: "charts/hot", Kind: pb.Chart_HOT, HalfLife: durationpb.New(day), Weights: watched,
			Title: map[string]string{"en": "Trending now", "zh": "热播榜"}},
		{Name: "charts/most-watched", Kind: pb.Chart_MOST_WATCHED, Window: durationpb.New(7 * day),
			Title: map[string]string{"en": "Most watched this week", "zh": "一周观看榜"}},
		{Name: "charts/new", Kind: pb.Chart_NEW,
			Title: map[string]string{"en": "New arrivals", "zh": "新片上线"}},
		{Name: "charts/rising", Kind: pb.Chart_RISING, HalfLife: durationpb.New(day), LongHalfLife: durationpb.New(7 * day), Weights: watched,
			Title: map[string]string{"en": "Rising", "zh": "飙升榜"}, MinVotes: 5},
		{Name: "charts/top-rated", Kind: pb.Chart_TOP_RATED, PriorWeight: 25,
			Title: map[string]string{"en": "Top rated", "zh": "高分榜"}, MinVotes: 5},
	}
	for _, c := range charts {
		c.MinForm = pb.Film_FEATURE
		seal(c)
	}
	return charts
}

// seal sets the fingerprints of a definition.
func seal(c *pb.Chart) {
	c.RevisionId = revisionID(c)
	c.Etag = fingerprint(&pb.Chart{Title: c.Title}, c.RevisionId)
}

// revisionID is the fingerprint of everything that decides the order of a chart's list. Two
// definitions with the same one give the same list; titles do not count.
func revisionID(c *pb.Chart) string {
	d := proto.CloneOf(c)
	d.Name, d.Etag, d.Revision, d.CreateTime, d.UpdateTime, d.RevisionId, d.Title = "", "", 0, nil, nil, "", nil
	for kind, w := range d.Weights {
		if w == 0 {
			delete(d.Weights, kind) // absent means the same
		}
	}
	return fingerprint(d, "")
}

func fingerprint(m proto.Message, more string) string {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(err) // only for text that is not UTF-8, which validation refuses before
	}
	sum := sha256.Sum256(append(b, more...))
	return hex.EncodeToString(sum[:8])
}

// inForce gives the definitions lists are made of: the stored charts and the built-in ones
// nobody replaced, by name.
func inForce(snap *shelf.Snapshot, builtin []*pb.Chart) []*pb.Chart {
	charts := slices.Clone(snap.Charts())
	for _, c := range builtin {
		if snap.Chart(c.Name) == nil {
			charts = append(charts, c)
		}
	}
	slices.SortFunc(charts, func(a, b *pb.Chart) int { return strings.Compare(a.Name, b.Name) })
	return charts
}

// validate gives the rules a definition breaks, with paths below path.
func validate(c *pb.Chart, path string) error {
	v := checker{path: path}
	v.fields = texts.Titles(path+".title", c.GetTitle())
	if len(c.GetTitle()) > 200 {
		v.broken("title", "must have at most 200 entries")
	}
	v.number("prior_weight", c.GetPriorWeight())
	v.number("positive_threshold", c.GetPositiveThreshold())
	v.number("z", c.GetZ())
	v.weights(c)
	short := v.duration("half_life", c.GetHalfLife())
	long := v.duration("long_half_life", c.GetLongHalfLife())
	window := v.duration("window", c.GetWindow())
	if c.GetMinVotes() < 0 {
		v.broken("min_votes", "must not be negative")
	}
	if _, known := pb.Film_Form_name[int32(c.GetMinForm())]; !known {
		v.broken("min_form", "must be a known form")
	}
	v.kind(c, short, long, window)
	if len(v.fields) > 0 {
		return fault.InvalidFields(v.fields)
	}
	return nil
}

// checker collects broken rules.
type checker struct {
	path   string
	fields []fault.Field
}

func (v *checker) broken(field, rule string, args ...any) {
	v.fields = append(v.fields, fault.Field{Path: v.path + "." + field, Rule: fmt.Sprintf(rule, args...)})
}

func (v *checker) number(field string, x float64) {
	if math.IsNaN(x) || x < 0 || x > maxWeight {
		v.broken(field, "must be a number from 0 to %d", maxWeight)
	}
}

// duration gives d, 0 when it is unset or wrong.
func (v *checker) duration(field string, d *durationpb.Duration) time.Duration {
	if d == nil {
		return 0
	}
	if err := d.CheckValid(); err != nil {
		v.broken(field, "must be a valid duration")
		return 0
	}
	if d.AsDuration() < time.Microsecond {
		v.broken(field, "must be greater than 0, and at least a microsecond")
		return 0
	}
	return d.AsDuration()
}

func (v *checker) weights(c *pb.Chart) {
	names := make([]string, 0, len(c.GetWeights()))
	for name := range c.GetWeights() {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		at := strings.TrimPrefix(texts.At("weights", name), ".")
		if kind, known := pb.Event_Kind_value[name]; !known || kind == 0 {
			v.broken(at, "must be the name of a kind of event")
		}
		v.number(at, c.GetWeights()[name])
	}
}

// kind checks what a kind needs, and that no chart looks back further than events are kept.
func (v *checker) kind(c *pb.Chart, short, long, window time.Duration) {
	switch c.GetKind() {
	case pb.Chart_HOT, pb.Chart_RISING:
		if c.GetHalfLife() == nil {
			v.broken("half_life", "is required for %s", c.GetKind())
		}
		if !anyWeight(c) {
			v.broken("weights", "at least one must be above 0")
		}
	case pb.Chart_MOST_WATCHED:
		if c.GetWindow() == nil {
			v.broken("window", "is required for MOST_WATCHED")
		}
	case pb.Chart_NEW:
		if c.GetMinVotes() != 0 {
			v.broken("min_votes", "is not for NEW, which counts no events")
		}
	case pb.Chart_TOP_RATED, pb.Chart_WILSON:
		return
	default:
		v.broken("kind", "is required, and must be a known kind")
		return
	}
	if c.GetKind() == pb.Chart_RISING && long <= short {
		v.broken("long_half_life", "must be longer than half_life")
	}
	field, look := "window", window
	if look == 0 {
		field, look = "half_life", short
		if long > short {
			field, look = "long_half_life", long
		}
	}
	if look > horizon {
		v.broken(field, "must be at most 400 days, which is how long events are kept")
	}
}

func anyWeight(c *pb.Chart) bool {
	for _, w := range c.GetWeights() {
		if w > 0 {
			return true
		}
	}
	return false
}

// nKinds is one more than the highest kind of event.
const nKinds = int(pb.Event_SHARE) + 1

// weightsOf gives a chart's weights by kind of event.
func weightsOf(c *pb.Chart) (w [nKinds]float64) {
	for name, x := range c.GetWeights() {
		w[pb.Event_Kind_value[name]] = x
	}
	return w
}

func micros(d *durationpb.Duration) int64 { return d.AsDuration().Microseconds() }
