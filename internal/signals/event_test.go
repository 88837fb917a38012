package signals

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/ledger"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// testDoor lets everything about films/a pass that an adult's front end may send at noon.
func testDoor() *door {
	return &door{caller: &auth.Caller{}, now: noon, known: func(film string) bool { return film == "films/a" }}
}

// event is one that everybody takes.
func event(edit ...func(*pb.Event)) *pb.Event {
	e := &pb.Event{Film: "films/a", ViewerKey: "viewer", Market: "US", Kind: pb.Event_PLAY, Value: 60, OccurTime: timestamppb.New(noon), Audience: pb.Viewer_ADULT}
	for _, f := range edit {
		f(e)
	}
	return e
}

func TestDoorTakesWhatTheContractTakes(t *testing.T) {
	for name, edit := range map[string]func(*pb.Event){
		"play":               func(*pb.Event) {},
		"play of no seconds": func(e *pb.Event) { e.Value = 0 },
		"complete":           func(e *pb.Event) { e.Kind = pb.Event_COMPLETE; e.Value = 0 },
		"like with a value":  func(e *pb.Event) { e.Kind = pb.Event_LIKE; e.Value = 17 },
		"unlike":             func(e *pb.Event) { e.Kind = pb.Event_UNLIKE },
		"share":              func(e *pb.Event) { e.Kind = pb.Event_SHARE },
		"lowest rating":      func(e *pb.Event) { e.Kind = pb.Event_RATE; e.Value = 0.5 },
		"highest rating":     func(e *pb.Event) { e.Kind = pb.Event_RATE; e.Value = 5 },
		"child":              func(e *pb.Event) { e.Audience = pb.Viewer_KIDS },
		"nobody said":        func(e *pb.Event) { e.Audience = pb.Viewer_AUDIENCE_UNSPECIFIED },
		"long viewer key":    func(e *pb.Event) { e.ViewerKey = strings.Repeat("x", 512) },
		"any viewer key":     func(e *pb.Event) { e.ViewerKey = "\x00\n'\"; DROP TABLE ledger_events; -- 烟花" },
		"5 minutes ahead":    func(e *pb.Event) { e.OccurTime = timestamppb.New(noon.Add(5 * time.Minute)) },
		"48 hours old":       func(e *pb.Event) { e.OccurTime = timestamppb.New(noon.Add(-48 * time.Hour)) },
	} {
		t.Run(name, func(t *testing.T) {
			e := event(edit)
			row, reason := testDoor().admit(e)
			require.Empty(t, reason)
			assert.Equal(t, e.GetFilm(), row.Film)
			assert.Equal(t, e.GetMarket(), row.Market)
			assert.Equal(t, e.GetKind(), row.Kind)
			assert.Equal(t, e.GetOccurTime().AsTime().UnixMicro(), row.Occur)
			assert.Equal(t, ledger.DayOf(row.Occur), row.Day)
			switch e.GetKind() {
			case pb.Event_PLAY, pb.Event_RATE:
				assert.InDelta(t, e.GetValue(), row.Value, 0)
			default:
				assert.Zero(t, row.Value)
			}
			if e.GetAudience() == pb.Viewer_ADULT {
				assert.Equal(t, pb.Viewer_ADULT, row.Audience)
			} else {
				assert.Equal(t, pb.Viewer_KIDS, row.Audience)
			}
		})
	}
}

func TestDoorRefusesTheRestAndSaysWhy(t *testing.T) {
	for name, c := range map[string]struct {
		edit  func(*pb.Event)
		field string
	}{
		"no film":            {func(e *pb.Event) { e.Film = "" }, "film"},
		"unknown film":       {func(e *pb.Event) { e.Film = "films/b" }, "film"},
		"no viewer key":      {func(e *pb.Event) { e.ViewerKey = "" }, "viewer_key"},
		"viewer key":         {func(e *pb.Event) { e.ViewerKey = strings.Repeat("x", 513) }, "viewer_key"},
		"no market":          {func(e *pb.Event) { e.Market = "" }, "market"},
		"market":             {func(e *pb.Event) { e.Market = "us" }, "market"},
		"market of three":    {func(e *pb.Event) { e.Market = "USA" }, "market"},
		"no kind":            {func(e *pb.Event) { e.Kind = 0 }, "kind"},
		"unknown kind":       {func(e *pb.Event) { e.Kind = 4711 }, "kind"},
		"negative kind":      {func(e *pb.Event) { e.Kind = -1 }, "kind"},
		"impression":         {func(e *pb.Event) { e.Kind = pb.Event_IMPRESSION }, "kind"},
		"unknown audience":   {func(e *pb.Event) { e.Audience = 9 }, "audience"},
		"negative seconds":   {func(e *pb.Event) { e.Value = -1 }, "value"},
		"NaN":                {func(e *pb.Event) { e.Value = math.NaN() }, "value"},
		"NaN of a like":      {func(e *pb.Event) { e.Kind = pb.Event_LIKE; e.Value = math.NaN() }, "value"},
		"infinity":           {func(e *pb.Event) { e.Value = math.Inf(1) }, "value"},
		"more than ever":     {func(e *pb.Event) { e.Value = 1e300 }, "value"},
		"rating too low":     {func(e *pb.Event) { e.Kind = pb.Event_RATE; e.Value = 0.49 }, "value"},
		"rating too high":    {func(e *pb.Event) { e.Kind = pb.Event_RATE; e.Value = 5.01 }, "value"},
		"a child rates":      {func(e *pb.Event) { e.Kind = pb.Event_RATE; e.Value = 3; e.Audience = pb.Viewer_KIDS }, "audience"},
		"nobody said, rates": {func(e *pb.Event) { e.Kind = pb.Event_RATE; e.Value = 3; e.Audience = 0 }, "audience"},
		"no time":            {func(e *pb.Event) { e.OccurTime = nil }, "occur_time"},
		"no such time":       {func(e *pb.Event) { e.OccurTime = &timestamppb.Timestamp{Seconds: math.MaxInt64} }, "occur_time"},
		"bad nanos":          {func(e *pb.Event) { e.OccurTime.Nanos = -1 }, "occur_time"},
		"future":             {func(e *pb.Event) { e.OccurTime = timestamppb.New(noon.Add(5*time.Minute + time.Microsecond)) }, "occur_time"},
		"a year ahead":       {func(e *pb.Event) { e.OccurTime = timestamppb.New(noon.AddDate(1, 0, 0)) }, "occur_time"},
		"too old":            {func(e *pb.Event) { e.OccurTime = timestamppb.New(noon.Add(-48*time.Hour - time.Microsecond)) }, "occur_time"},
		"a year late":        {func(e *pb.Event) { e.OccurTime = timestamppb.New(noon.AddDate(-1, 0, 0)) }, "occur_time"},
	} {
		t.Run(name, func(t *testing.T) {
			_, reason := testDoor().admit(event(c.edit))
			assert.Regexp(t, "^"+c.field+": .+", reason)
		})
	}
	_, reason := testDoor().admit(nil)
	assert.NotEmpty(t, reason)
}

func TestDoorHonoursTheCallersClaims(t *testing.T) {
	d := testDoor()
	d.caller = &auth.Caller{Audience: pb.Viewer_KIDS, Markets: []string{"US"}}
	row, reason := d.admit(event())
	require.Empty(t, reason)
	assert.Equal(t, pb.Viewer_KIDS, row.Audience, "a children's token speaks of children")
	_, reason = d.admit(event(func(e *pb.Event) { e.Kind = pb.Event_RATE; e.Value = 5 }))
	assert.Regexp(t, "^audience: ", reason)
	_, reason = d.admit(event(func(e *pb.Event) { e.Market = "CN" }))
	assert.Regexp(t, "^market: ", reason)
	d.caller = &auth.Caller{Audience: pb.Viewer_ADULT}
	row, reason = d.admit(event(func(e *pb.Event) { e.Audience = pb.Viewer_KIDS }))
	require.Empty(t, reason)
	assert.Equal(t, pb.Viewer_KIDS, row.Audience, "a claim of ADULT makes nobody an adult")
}

func TestDoorTakesImportsOfAnyAgeButChildrensOnlyWhileTheirKeyLives(t *testing.T) {
	d := testDoor()
	d.anyAge = true
	at := func(when time.Time, audience pb.Viewer_Audience) string {
		_, reason := d.admit(event(func(e *pb.Event) { e.OccurTime, e.Audience = timestamppb.New(when), audience }))
		return reason
	}
	for _, when := range []time.Time{time.Date(1996, 3, 1, 0, 0, 0, 0, time.UTC), time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), noon} {
		assert.Empty(t, at(when, pb.Viewer_ADULT), when)
	}
	assert.NotEmpty(t, at(noon.Add(6*time.Minute), pb.Viewer_ADULT), "the future stays closed")
	midnight := noon.Truncate(24 * time.Hour)
	assert.Empty(t, at(midnight.AddDate(0, 0, -2), pb.Viewer_KIDS))
	d.now = midnight.Add(-time.Microsecond)
	assert.Empty(t, at(midnight.AddDate(0, 0, -3), pb.Viewer_KIDS))
	d.now = midnight
	assert.Equal(t, keyGone, at(midnight.AddDate(0, 0, -3), pb.Viewer_KIDS), "72 hours after the day began")
	assert.Equal(t, keyGone, at(midnight.Add(-48*time.Hour-time.Microsecond), pb.Viewer_KIDS))
}

// FuzzEvent gives the door any event that can arrive. It never panics, and what it takes is
// within the bounds everything behind it relies on.
func FuzzEvent(f *testing.F) {
	seed := func(e *pb.Event) {
		b, err := proto.Marshal(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, false, int32(0))
		f.Add(b, true, int32(2))
	}
	seed(event())
	seed(event(func(e *pb.Event) { e.Kind = pb.Event_RATE; e.Value = 4 }))
	seed(event(func(e *pb.Event) { e.Audience = pb.Viewer_KIDS; e.Value = math.NaN() }))
	seed(event(func(e *pb.Event) { e.OccurTime = &timestamppb.Timestamp{Seconds: -62135596800} }))
	f.Fuzz(func(t *testing.T, data []byte, anyAge bool, audience int32) {
		e := &pb.Event{}
		if proto.Unmarshal(data, e) != nil {
			return
		}
		d := testDoor()
		d.anyAge, d.caller = anyAge, &auth.Caller{Audience: pb.Viewer_Audience(audience)}
		row, reason := d.admit(e)
		if reason != "" {
			field, rule, ok := strings.Cut(reason, ": ")
			require.True(t, ok && rule != "" && slices.Contains([]string{"film", "viewer_key", "market", "kind", "value", "occur_time", "audience"}, field), reason)
			return
		}
		require.Equal(t, "films/a", row.Film)
		require.True(t, isMarket(row.Market))
		require.True(t, row.Value >= 0 && row.Value <= maxValue)
		require.True(t, row.Kind > pb.Event_IMPRESSION && row.Kind <= pb.Event_SHARE)
		require.True(t, row.Audience == pb.Viewer_ADULT || row.Audience == pb.Viewer_KIDS)
		require.False(t, row.Audience == pb.Viewer_KIDS && row.Kind == pb.Event_RATE)
		require.LessOrEqual(t, row.Occur, noon.Add(maxFuture).UnixMicro())
		if !anyAge {
			require.GreaterOrEqual(t, row.Occur, noon.Add(-maxAge).UnixMicro())
		}
	})
}
