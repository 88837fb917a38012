package shelf

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/changes"
)

// one puts a single film on a shelf of its own.
func one(t testing.TB, f *pb.Film) (*Snapshot, *Entry) {
	s := load(t, f).Current()
	return s, s.Film(f.GetName())
}

func TestGateEqualsTheContract(t *testing.T) {
	seen := map[Verdict]int{}
	rapid.Check(t, func(rt *rapid.T) {
		f, v := someFilm(rt, "films/a"), someViewer(rt)
		s, e := one(t, f)
		at := someInstants.Draw(rt, "now")
		got, _ := s.Gate(NewViewer(v), e, at)
		assert.Equal(rt, referenceGate(f, v, at), got)
		seen[got]++
	})
	assert.Len(t, seen, 3, "the films drawn meet every verdict: %v", seen)
}

// What the gate answered holds, card included, until the moment it names.
func TestGateHoldsUntil(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		f, v := someFilm(rt, "films/a"), NewViewer(someViewer(rt))
		s, e := one(t, f)
		at := someInstants.Draw(rt, "now")
		verdict, until := s.Gate(v, e, at)
		assert.True(rt, until.After(at))
		later := someInstants.Draw(rt, "later")
		if later.Before(at) || !later.Before(until) {
			later = until.Add(-time.Microsecond)
		}
		again, _ := s.Gate(v, e, later)
		assert.Equal(rt, verdict, again, "at %v, until %v, asked at %v", at, until, later)
		if verdict != Hidden {
			assert.Equal(rt, s.AppendCard(nil, e, v, verdict, at), s.AppendCard(nil, e, v, again, later))
		}
	})
}

func TestP5_RaisingTheBandNeverRemovesAFilm(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		f, v := someFilm(rt, "films/a"), someViewer(rt)
		v.Audience = pb.Viewer_KIDS
		s, e := one(t, f)
		at := someInstants.Draw(rt, "now")
		before := Hidden
		for band := pb.Film_ALL; band <= pb.Film_AGE_16; band++ {
			v.AgeBand = band
			got, _ := s.Gate(NewViewer(v), e, at)
			assert.GreaterOrEqual(rt, got, before, "band %v", band)
			before = got
		}
		v.Audience = pb.Viewer_ADULT
		got, _ := s.Gate(NewViewer(v), e, at)
		assert.GreaterOrEqual(rt, got, before, "an adult sees what a child sees")
	})
}

func TestGateForChildren(t *testing.T) {
	rated := func(market, system, code string) func(*pb.Film) {
		return func(f *pb.Film) {
			f.Ratings = append(f.Ratings, &pb.Rating{Market: market, System: system, Code: code})
		}
	}
	for name, c := range map[string]struct {
		edit   func(*pb.Film)
		market string
		band   pb.Film_AgeBand
		want   Verdict
	}{
		"cleared":                     {func(*pb.Film) {}, "US", pb.Film_ALL, Playing},
		"unset band is ALL":           {func(*pb.Film) {}, "US", 0, Playing},
		"band unknown":                {func(f *pb.Film) { f.AgeBand = 0 }, "US", pb.Film_AGE_16, Hidden},
		"band of a later version":     {func(f *pb.Film) { f.AgeBand = 7 }, "US", pb.Film_AGE_16, Hidden},
		"band of no version":          {func(f *pb.Film) { f.AgeBand = -3 }, "US", pb.Film_AGE_16, Hidden},
		"band above":                  {func(f *pb.Film) { f.AgeBand = pb.Film_AGE_8 }, "US", pb.Film_AGE_3, Hidden},
		"band equal":                  {func(f *pb.Film) { f.AgeBand = pb.Film_AGE_8 }, "US", pb.Film_AGE_8, Playing},
		"no review":                   {func(f *pb.Film) { f.MinorsReview = nil }, "US", pb.Film_AGE_16, Hidden},
		"review without band":         {func(f *pb.Film) { f.MinorsReview.AgeBand = 0 }, "US", pb.Film_AGE_16, Hidden},
		"review above":                {func(f *pb.Film) { f.MinorsReview.AgeBand = pb.Film_AGE_12 }, "US", pb.Film_AGE_8, Hidden},
		"rating above":                {rated("US", "MPA", "R"), "US", pb.Film_AGE_16, Hidden},
		"rating equal":                {rated("US", "MPA", "PG"), "US", pb.Film_AGE_8, Playing},
		"rating rounds up":            {rated("US", "MPA", "PG-13"), "US", pb.Film_AGE_12, Hidden},
		"rating in small letters":     {rated("US", "mpa", " r "), "US", pb.Film_AGE_16, Hidden},
		"the strictest rating counts": {func(f *pb.Film) { rated("US", "MPA", "G")(f); rated("US", "TV", "TV-MA")(f) }, "US", pb.Film_AGE_16, Hidden},
		"rating of another market":    {rated("US", "MPA", "R"), "GB", pb.Film_ALL, Playing},
		"system of another market":    {rated("US", "BBFC", "18"), "US", pb.Film_ALL, Playing},
		"same code, another meaning":  {rated("SG", "IMDA", "PG"), "SG", pb.Film_ALL, Hidden},
		"unknown code":                {rated("US", "MPA", "XXX"), "US", pb.Film_ALL, Playing},
		"unknown system":              {rated("US", "HOUSE", "R"), "US", pb.Film_ALL, Playing},
		"no child of 18":              {func(*pb.Film) {}, "US", pb.Film_AGE_18, Hidden},
		"no such market":              {func(*pb.Film) {}, "us", pb.Film_ALL, Hidden},
		"no market":                   {func(*pb.Film) {}, "", pb.Film_ALL, Hidden},
	} {
		s, e := one(t, film("films/a", c.edit))
		got, _ := s.Gate(&Viewer{Market: c.market, Audience: pb.Viewer_KIDS, Band: c.band}, e, now)
		assert.Equal(t, c.want, got, name)
		got, _ = s.Gate(&Viewer{Market: c.market, Band: c.band}, e, now)
		assert.Equal(t, c.want, got, "%s, audience unset", name)
		if countryOf(c.market) != 0 {
			got, _ = s.Gate(&Viewer{Market: c.market, Audience: pb.Viewer_ADULT}, e, now)
			assert.Equal(t, Playing, got, "%s, to an adult", name)
		}
	}
}

func TestGateFailsClosed(t *testing.T) {
	for name, edit := range map[string]func(*pb.Film){
		"draft":              func(f *pb.Film) { f.State = pb.Film_DRAFT },
		"in review":          func(f *pb.Film) { f.State = pb.Film_IN_REVIEW },
		"taken down":         func(f *pb.Film) { f.State = pb.Film_TAKEN_DOWN },
		"unknown state":      func(f *pb.Film) { f.State = 99 },
		"deleted":            func(f *pb.Film) { f.DeleteTime = timestamppb.New(now) },
		"taken down here":    func(f *pb.Film) { f.TakenDownMarkets = []string{"GB", "US"} },
		"no window":          func(f *pb.Film) { f.Availability = nil },
		"other market":       func(f *pb.Film) { f.Availability[0].Markets = []string{"GB"} },
		"markets malformed":  func(f *pb.Film) { f.Availability[0].Markets = []string{"usa"} },
		"no provenance":      func(f *pb.Film) { f.Provenance = nil },
		"source unknown":     func(f *pb.Film) { f.Provenance.DigitalSourceType = "magic" },
		"window is over now": func(f *pb.Film) { f.Availability[0].EndTime = timestamppb.New(now) },
		"starts in 1 ns":     func(f *pb.Film) { f.Availability[0].StartTime = timestamppb.New(now.Add(1)) },
		"window backwards": func(f *pb.Film) {
			f.Availability[0].StartTime, f.Availability[0].EndTime = timestamppb.New(now.Add(9)), timestamppb.New(now.Add(5))
			f.Availability[0].AnnounceTime = timestamppb.New(now)
		},
	} {
		s, e := one(t, film("films/a", edit))
		got, _ := s.Gate(adult, e, now)
		assert.Equal(t, Hidden, got, name)
	}
	got, _ := New().Current().Gate(adult, nil, now)
	assert.Equal(t, Hidden, got, "no film")
}

func TestGateUntilNamesTheNextEdge(t *testing.T) {
	day := 24 * time.Hour
	at := func(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(now.Add(d)) }
	for name, c := range map[string]struct {
		window *pb.Availability
		want   Verdict
		until  time.Time
	}{
		"open for ever":   {&pb.Availability{}, Playing, Forever},
		"not announced":   {&pb.Availability{AnnounceTime: at(day), StartTime: at(2 * day)}, Hidden, now.Add(day)},
		"announced":       {&pb.Availability{AnnounceTime: at(0), StartTime: at(2 * day)}, Coming, now.Add(2 * day)},
		"silent start":    {&pb.Availability{StartTime: at(2 * day)}, Hidden, now.Add(2 * day)},
		"ends soon":       {&pb.Availability{EndTime: at(3 * day)}, Playing, now.Add(3 * day)},
		"ends later":      {&pb.Availability{EndTime: at(31 * day)}, Playing, now.Add(day)},
		"over":            {&pb.Availability{EndTime: at(-day)}, Hidden, Forever},
		"start is in":     {&pb.Availability{StartTime: at(0)}, Playing, Forever},
		"start at half μ": {&pb.Availability{StartTime: at(500)}, Hidden, now.Add(1000)},
	} {
		s, e := one(t, film("films/a", func(f *pb.Film) { f.Availability = []*pb.Availability{c.window} }))
		got, until := s.Gate(adult, e, now)
		assert.Equal(t, c.want, got, name)
		assert.WithinDuration(t, c.until, until, 0, name)
	}
}

func TestGateDoesNotAllocate(t *testing.T) {
	s, e := one(t, film("films/a"))
	assert.Zero(t, testing.AllocsPerRun(100, func() { s.Gate(child, e, now) }))
}

func TestFirstStart(t *testing.T) {
	_, e := one(t, film("films/a", func(f *pb.Film) {
		f.Availability = []*pb.Availability{
			{Markets: []string{"US", "GB"}, StartTime: timestamppb.New(time.Unix(20, 0))},
			{Markets: []string{"US"}, StartTime: timestamppb.New(time.Unix(10, 0))},
			{Markets: []string{"SG"}},
		}
	}))
	for market, want := range map[string]int64{"US": 10e6, "GB": 20e6, "SG": 0} {
		got, ok := e.FirstStart(market)
		assert.True(t, ok, market)
		assert.Equal(t, want, got, market)
	}
	_, ok := e.FirstStart("DE")
	assert.False(t, ok)
	_, ok = e.FirstStart("nowhere")
	assert.False(t, ok)
}

// A store that was replaced by an older one is read anew; marks of the lost one do not
// keep its films hidden.
func TestLoadOfAnotherStore(t *testing.T) {
	s := load(t, film("films/a"), film("films/gone"))
	s.Apply(50, []changes.Resource{resource(t, 50, film("films/a"))})
	s.Withdraw(60, []string{"films/a"})
	slot, _ := s.Current().Slot("films/a")
	version := s.Version(slot)
	rows := []changes.Resource{resource(t, 3, film("films/a"))}
	assert.NoError(t, s.Load(3, func() (r changes.Resource, ok bool) {
		if len(rows) == 0 {
			return r, false
		}
		r, rows = rows[0], rows[1:]
		return r, true
	}))
	assert.Equal(t, Playing, verdict(s, adult, "films/a"))
	assert.Nil(t, s.Current().Film("films/gone"))
	again, _ := s.Current().Slot("films/a")
	assert.Equal(t, slot, again, "slots are kept")
	assert.NotEqual(t, version, s.Version(slot))
}

// The gate fails closed for bands that do not exist.
func TestP5_NoBandNoFilm(t *testing.T) {
	e := &Entry{AgeBand: pb.Film_ALL, review: pb.Film_ALL}
	for band, open := range map[pb.Film_AgeBand]bool{-1: false, pb.Film_AGE_BAND_UNSPECIFIED: true, pb.Film_ALL: true, pb.Film_AGE_16: true, pb.Film_AGE_18: false, 99: false} {
		v := NewViewer(&pb.Viewer{Market: "US", Audience: pb.Viewer_KIDS, AgeBand: band})
		assert.Equal(t, open, e.cleared(v), "%d", band)
	}
}
