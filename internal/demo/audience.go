package demo

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/aitheater/theater/api/theater/v1"
)

// place is a market with its share of the audience and its offset from UTC in hours.
type place struct {
	market string
	share  float64
	offset int
}

var places = []place{{"CN", 0.45, 8}, {"US", 0.25, -5}, {"GB", 0.15, 0}, {"SG", 0.15, 8}}

// sittings is how many times somebody sits down to watch in the day played.
const sittings = 9000

// Events are what an audience did in the 24 hours before now: quiet at night, busiest in
// the evening of each market, children after school; a few favourites and a long tail. The
// same now gives the same events.
func Events(now time.Time) []*pb.Event {
	rng := rand.New(rand.NewPCG(2025, 11))
	all := works()
	var children []work
	for _, w := range all {
		if w.cleared {
			children = append(children, w)
		}
	}
	favourites := rng.Perm(len(all))
	var events []*pb.Event
	for n := range sittings {
		p := somewhere(rng)
		audience, choice := pb.Viewer_ADULT, all
		if rng.Float64() < 0.25 {
			audience, choice = pb.Viewer_KIDS, children
		}
		w := choice[favourites[longTail(rng, len(all))]%len(choice)]
		if w.markets == "coming" {
			continue
		}
		at := now.Add(-timeOfDay(rng, now, p.offset, audience))
		events = append(events, sitting(rng, w, p.market, fmt.Sprintf("demo-viewer-%d", n%4000), audience, at, now)...)
	}
	return events
}

func somewhere(rng *rand.Rand) place {
	x := rng.Float64()
	for _, p := range places {
		if x -= p.share; x < 0 {
			return p
		}
	}
	return places[0]
}

// longTail draws from 0..n-1 with a probability that falls like 1/(rank+3).
func longTail(rng *rand.Rand, n int) int {
	return int(3*math.Pow(float64(n+3)/3, rng.Float64())) - 3
}

// timeOfDay draws how long before now somebody sat down, by the market's local clock.
func timeOfDay(rng *rand.Rand, now time.Time, offset int, audience pb.Viewer_Audience) time.Duration {
	peak := 21.0
	if audience == pb.Viewer_KIDS {
		peak = 17.5
	}
	for {
		ago := time.Duration(rng.Int64N(int64(24*time.Hour-2*time.Minute))) + time.Minute
		local := now.Add(-ago).UTC().Add(time.Duration(offset) * time.Hour)
		hour := float64(local.Hour()) + float64(local.Minute())/60
		away := math.Mod(math.Abs(hour-peak), 24)
		away = math.Min(away, 24-away)
		if rng.Float64() < 0.06+0.94*math.Exp(-away*away/18) {
			return ago
		}
	}
}

// sitting is what one viewer does with one film: watch for a while, perhaps to the end, and
// then perhaps say so.
func sitting(rng *rand.Rand, w work, market, viewer string, audience pb.Viewer_Audience, at, now time.Time) []*pb.Event {
	var events []*pb.Event
	add := func(kind pb.Event_Kind, value float64, when time.Time) {
		if when.After(now) {
			return
		}
		events = append(events, &pb.Event{Film: "films/" + w.id, ViewerKey: viewer, Market: market, Kind: kind, Value: value,
			OccurTime: timestamppb.New(when.Truncate(time.Microsecond)), Audience: audience})
	}
	appeal := 0.35 + 0.5*float64(w.hash()%100)/100
	length := time.Duration(w.minutes) * time.Minute
	watched := length
	finished := rng.Float64() < appeal
	if !finished {
		watched = time.Duration((0.05 + 0.8*rng.Float64()) * float64(length))
	}
	add(pb.Event_PLAY, watched.Seconds(), at)
	end := at.Add(watched)
	if finished {
		add(pb.Event_COMPLETE, 0, end)
	}
	if rng.Float64() < appeal/4 {
		add(pb.Event_LIKE, 0, end)
	}
	if audience == pb.Viewer_ADULT && rng.Float64() < 0.15 {
		stars := math.Round(2*(2+3*appeal+rng.NormFloat64()*0.7)) / 2
		add(pb.Event_RATE, math.Max(0.5, math.Min(5, stars)), end)
	}
	if rng.Float64() < appeal/12 {
		add(pb.Event_SHARE, 0, end)
	}
	return events
}
