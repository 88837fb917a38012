package rank

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/resource"
	"github.com/aitheater/theater/internal/shelf"
	"github.com/aitheater/theater/internal/texts"
)

const (
	prefix = "charts/"
	day    = 24 * time.Hour
	// horizon is how long events are kept: a chart cannot look back further.
	horizon = 400 * day
	// maxNumber keeps every formula far from the largest double.
	maxNumber = 1_000_000
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
	broken, err := resource.Schema(path, c)
	if err != nil {
		return err
	}
	v := checker{path: path, Broken: broken}
	v.Broken = append(v.Broken, texts.Titles(path+".title", c.GetTitle())...)
	v.weights(c)
	for field, x := range map[string]float64{"prior_weight": c.GetPriorWeight(), "positive_threshold": c.GetPositiveThreshold(), "z": c.GetZ()} {
		if x > maxNumber {
			v.broken(field, "must be at most %d", maxNumber)
		}
	}
	if len(broken) == 0 { // durations and numbers are what they should be
		v.kind(c)
	}
	return v.Err()
}

// checker collects broken rules.
type checker struct {
	path string
	resource.Broken
}

func (v *checker) broken(field, rule string, args ...any) { v.Add(v.path+"."+field, rule, args...) }

func (v *checker) weights(c *pb.Chart) {
	for _, name := range slices.Sorted(maps.Keys(c.GetWeights())) {
		if kind, known := pb.Event_Kind_value[name]; !known || kind == 0 {
			v.broken(texts.At("weights", name), "must be the name of a kind of event")
		}
	}
}

// kind checks what a kind needs, and that no chart looks back further than events are kept.
func (v *checker) kind(c *pb.Chart) {
	short, long, window := c.GetHalfLife().AsDuration(), c.GetLongHalfLife().AsDuration(), c.GetWindow().AsDuration()
	for field, d := range map[string]*durationpb.Duration{"half_life": c.HalfLife, "long_half_life": c.LongHalfLife, "window": c.Window} {
		if d != nil && d.AsDuration() < time.Microsecond {
			v.broken(field, "must be at least a microsecond")
			return
		}
	}
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
