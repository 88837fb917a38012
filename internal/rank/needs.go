package rank

import (
	"slices"

	pb "github.com/aitheater/theater/api/theater/v1"
)

// sumSpec is a decayed, weighted sum some chart wants: the half-life in microseconds and the
// weights by kind of event.
type sumSpec struct {
	halfLife int64
	weights  [nKinds]float64
}

// needs is what the charts in force want the fold to keep for every film. A state that was
// folded for other needs cannot be taught new ones: the events are past.
type needs struct {
	sums []sumSpec
	// thresholds are from where on ratings are positive.
	thresholds []float64
	// window is the longest window in microseconds.
	window int64
}

func needsOf(charts []*pb.Chart) needs {
	var n needs
	for _, c := range charts {
		switch c.Kind {
		case pb.Chart_HOT:
			n.addSum(sumSpec{micros(c.HalfLife), weightsOf(c)})
		case pb.Chart_RISING:
			n.addSum(sumSpec{micros(c.HalfLife), weightsOf(c)})
			n.addSum(sumSpec{micros(c.LongHalfLife), weightsOf(c)})
		case pb.Chart_WILSON:
			if !slices.Contains(n.thresholds, c.PositiveThreshold) {
				n.thresholds = append(n.thresholds, c.PositiveThreshold)
			}
		case pb.Chart_MOST_WATCHED:
			n.window = max(n.window, micros(c.Window))
		}
	}
	return n
}

func (n *needs) addSum(s sumSpec) {
	if !slices.Contains(n.sums, s) {
		n.sums = append(n.sums, s)
	}
}

// cover reports whether a state folded for n has all that others want.
func (n *needs) cover(others needs) bool {
	for _, s := range others.sums {
		if !slices.Contains(n.sums, s) {
			return false
		}
	}
	for _, t := range others.thresholds {
		if !slices.Contains(n.thresholds, t) {
			return false
		}
	}
	return n.window >= others.window
}

// sum is the place of a chart's sum.
func (n *needs) sum(c *pb.Chart, halfLife int64) int {
	return slices.Index(n.sums, sumSpec{halfLife, weightsOf(c)})
}
