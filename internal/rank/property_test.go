package rank

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/changes"
	"github.com/aitheater/theater/internal/generations"
	"github.com/aitheater/theater/internal/ledger"
	"github.com/aitheater/theater/internal/shelf"
	"github.com/aitheater/theater/internal/sqldb"
	"github.com/aitheater/theater/internal/theatertest"
)

// shelve fills a shelf with messages, as of revision 1.
func shelve(t require.TestingT, sh *shelf.Shelf, films []*pb.Film, charts []*pb.Chart) {
	var all []changes.Resource
	add := func(name string, m proto.Message) {
		body, err := proto.Marshal(m)
		require.NoError(t, err)
		all = append(all, changes.Resource{Name: name, Revision: 1, Body: body})
	}
	for _, f := range films {
		add(f.Name, f)
	}
	for _, c := range charts {
		seal(c)
		add(c.Name, c)
	}
	require.NoError(t, sh.Load(1, func() (changes.Resource, bool) {
		if len(all) == 0 {
			return changes.Resource{}, false
		}
		r := all[0]
		all = all[1:]
		return r, true
	}))
}

// wipe empties the tables the ranker reads.
func wipe(t require.TestingT, db *sqldb.DB) {
	require.NoError(t, db.Write(context.Background(), func(tx *sqldb.Tx) error {
		for _, q := range []string{"UPDATE ledger_head SET seq = 0", "DELETE FROM ledger_events", "DELETE FROM ledger_purges", "DELETE FROM rank_state", "DELETE FROM rank_segments", "DELETE FROM rank_keys"} {
			if _, err := tx.Exec(q); err != nil {
				return err
			}
		}
		return nil
	}))
}

// testCharts look at the same events in many ways.
func testCharts() []*pb.Chart {
	weights := map[string]float64{"PLAY": 1, "COMPLETE": 0.7, "LIKE": 3, "SHARE": 4, "RATE": 0.3}
	return []*pb.Chart{
		{Name: "charts/hot-1h", Kind: pb.Chart_HOT, HalfLife: durationpb.New(time.Hour), Weights: weights},
		{Name: "charts/hot-7d", Kind: pb.Chart_HOT, HalfLife: durationpb.New(7 * day), Weights: map[string]float64{"RATE": 1}, MinVotes: 2},
		{Name: "charts/hot-20m", Kind: pb.Chart_HOT, HalfLife: durationpb.New(20 * time.Minute), Weights: map[string]float64{"PLAY": 1}},
		{Name: "charts/hot-brief", Kind: pb.Chart_HOT, HalfLife: durationpb.New(20 * time.Second), Weights: weights},
		{Name: "charts/rising-2", Kind: pb.Chart_RISING, HalfLife: durationpb.New(time.Hour), LongHalfLife: durationpb.New(7 * day), Weights: weights, NormalizeByRuntime: true},
		{Name: "charts/bayes", Kind: pb.Chart_TOP_RATED, PriorWeight: 25},
		{Name: "charts/wilson", Kind: pb.Chart_WILSON, PositiveThreshold: 4, Z: 1.96, MinForm: pb.Film_SHORT},
		{Name: "charts/wilson-2", Kind: pb.Chart_WILSON, PositiveThreshold: 2.5, Z: 1},
		{Name: "charts/watched-3d", Kind: pb.Chart_MOST_WATCHED, Window: durationpb.New(3 * day), MinVotes: 2},
		{Name: "charts/watched-5h", Kind: pb.Chart_MOST_WATCHED, Window: durationpb.New(5 * time.Hour)},
		{Name: "charts/newest", Kind: pb.Chart_NEW},
	}
}

func testFilms(now time.Time) []*pb.Film {
	return []*pb.Film{
		film("a"), film("b"), film("c", func(f *pb.Film) { f.Runtime = durationpb.New(100 * time.Minute) }),
		film("d", func(f *pb.Film) { f.Form, f.Runtime = pb.Film_SHORT, durationpb.New(5*time.Minute) }),
		film("e", func(f *pb.Film) { f.Form, f.Runtime = pb.Film_FORM_UNSPECIFIED, nil }),
		film("draft", func(f *pb.Film) { f.State = pb.Film_DRAFT }),
		film("deleted", func(f *pb.Film) { f.DeleteTime = timestamppb.New(now) }),
		film("us", func(f *pb.Film) {
			f.Availability = []*pb.Availability{{Markets: []string{"US", "CA"}, StartTime: timestamppb.New(now.Add(-day))}}
		}),
		film("soon", func(f *pb.Film) {
			f.Availability = []*pb.Availability{{StartTime: timestamppb.New(now.Add(10 * time.Minute))}}
		}),
	}
}

// history is a random log, played against a leader that may die at any moment.
type history struct {
	t   require.TestingT
	svc *Service
	db  *sqldb.DB
	l   *leader
	now time.Time
	ttl int
	// watched is more than any play that was replaced so far.
	watched float64
}

func (h *history) take() {
	h.ttl++
	epoch, held, err := h.db.Lease(context.Background(), leaseName, fmt.Sprint(h.ttl), time.Hour)
	require.NoError(h.t, err)
	require.True(h.t, held)
	h.l, err = h.svc.take(context.Background(), Config{}.filled(), epoch)
	require.NoError(h.t, err)
	h.l.now = func() time.Time { return h.now }
}

// lose lets the lease of the present leader go.
func (h *history) lose() {
	_, _, err := h.db.Lease(context.Background(), leaseName, fmt.Sprint(h.ttl), 0)
	require.NoError(h.t, err)
}

func (h *history) events(t *rapid.T) []ledger.Event {
	kinds := []pb.Event_Kind{pb.Event_PLAY, pb.Event_PLAY, pb.Event_COMPLETE, pb.Event_LIKE, pb.Event_UNLIKE, pb.Event_RATE, pb.Event_SHARE}
	films := []string{"a", "b", "c", "d", "e", "draft", "deleted", "us", "soon", "unknown"}
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) ledger.Event {
		kind := rapid.SampledFrom(kinds).Draw(t, "kind")
		var value float64
		switch kind {
		case pb.Event_PLAY:
			value = float64(rapid.IntRange(0, 5).Draw(t, "seconds")) * 600
		case pb.Event_RATE:
			value = float64(rapid.IntRange(1, 10).Draw(t, "stars")) / 2
		}
		ago := rapid.OneOf(
			rapid.SampledFrom([]time.Duration{0, -time.Second, -4 * time.Minute, 3 * day, 3*day - time.Microsecond, 5 * time.Hour, 5*time.Hour + time.Microsecond}),
			rapid.Map(rapid.IntRange(0, 30*60), func(m int) time.Duration { return time.Duration(m) * time.Minute }),
			rapid.Map(rapid.IntRange(0, 40), func(d int) time.Duration { return time.Duration(d) * 7 * time.Hour }),
			rapid.Map(rapid.IntRange(0, 20*12), func(m int) time.Duration { return time.Duration(m) * 30 * day }),
		).Draw(t, "ago")
		e := event(rapid.SampledFrom(films).Draw(t, "film"), rapid.SampledFrom([]string{"v1", "v2", "v3"}).Draw(t, "viewer"),
			rapid.SampledFrom([]string{"US", "US", "GB"}).Draw(t, "market"), kind, value, h.now.Add(-ago))
		if kind != pb.Event_RATE && rapid.IntRange(0, 3).Draw(t, "child") == 0 {
			e.Audience = pb.Viewer_KIDS
			e.Viewer[7] = byte(e.Day) // hashes differ in their first half
		}
		return e
	}), 0, 12).Draw(t, "events")
}

// replays are plays of one film on one day that replace each other, at any times of it.
func (h *history) replays(t *rapid.T) []ledger.Event {
	film := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "film")
	begun := h.now.Add(-time.Duration(rapid.IntRange(1, 2).Draw(t, "days ago")) * day).Truncate(day)
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) ledger.Event {
		h.watched += 60
		return event(film, rapid.SampledFrom([]string{"r1", "r2", "r3"}).Draw(t, "viewer"), "US", pb.Event_PLAY, h.watched,
			begun.Add(time.Duration(rapid.IntRange(0, 24*60-1).Draw(t, "minute"))*time.Minute))
	}), 2, 8).Draw(t, "replays")
}

// check holds every list against the oracle.
func (h *history) check(markets []string) {
	ctx := context.Background()
	require.NoError(h.t, h.l.follow(ctx))
	snap := h.svc.shelf.Current()
	charts := inForce(snap, h.svc.builtin)
	win, err := h.l.windows(ctx, charts)
	require.NoError(h.t, err)
	none := func(string, string) *generations.List { return nil }
	lists := h.l.board.lists(charts, h.l.state, snap, win, none, true)
	byKey := map[listKey]*generations.List{}
	for _, l := range lists {
		byKey[listKey{l.Chart, l.Market}] = l
	}
	for _, c := range charts {
		for _, market := range markets {
			l := byKey[listKey{c.Name, market}]
			if l == nil {
				l = byKey[listKey{c.Name, generations.World}]
			}
			want, err := h.svc.oracle(ctx, snap, c, market, h.l.state.at, func(*shelf.Entry) bool { return true })
			require.NoError(h.t, err)
			h.same(c, market, want, l)
		}
	}
}

func (h *history) same(c *pb.Chart, market string, want []placed, l *generations.List) {
	var wantNames, names []string
	for _, p := range want {
		wantNames = append(wantNames, p.film.Name)
	}
	for _, e := range l.Entries {
		names = append(names, e.Film)
	}
	require.Equal(h.t, wantNames, names, "%s in %s (list of %s) as of %s", c.Name, market, l.Market, h.now)
	for i, p := range want {
		a, b := p.score.float(), l.Entries[i].Score
		require.InDelta(h.t, a, b, 1e-300+1e-12*math.Abs(a), "%s in %s: %s", c.Name, market, p.film.Name)
	}
}

// few keeps a property that talks to a database short; the property is the same at any length
// (go test -rapid.checks=…).
func few(t *testing.T) {
	for name, value := range map[string]string{"rapid.checks": "15", "rapid.steps": "20"} {
		f := flag.Lookup(name)
		if f.Value.String() != f.DefValue {
			continue
		}
		require.NoError(t, f.Value.Set(value))
		t.Cleanup(func() { _ = f.Value.Set(f.DefValue) })
	}
}

// follow folds to the head without publishing.
func (l *leader) follow(ctx context.Context) error {
	l.state.advance(l.now().UnixMicro())
	if err := l.catchUp(ctx); err != nil {
		return err
	}
	return l.repair(ctx, l.state)
}

func TestListsEqualTheOracle(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		db, err := sqldb.Open(context.Background(), url)
		require.NoError(t, err)
		defer db.Close()
		holder := 0
		few(t)
		rapid.Check(t, func(rt *rapid.T) {
			wipe(rt, db)
			start := time.Date(2026, 11, 20, rapid.SampledFrom([]int{0, 3, 12, 23}).Draw(rt, "hour"), 58, 0, 0, time.UTC)
			sh := shelf.New()
			shelve(rt, sh, testFilms(start), testCharts())
			h := &history{t: rt, svc: New(db, nil, sh, nil, nil), db: db, now: start, ttl: holder}
			h.take()
			defer func() { h.lose(); holder = h.ttl }()
			purged := 0
			rt.Repeat(map[string]func(*rapid.T){
				"append": func(rt *rapid.T) {
					h.t = rt
					require.NoError(rt, h.svc.ledger.Append(context.Background(), h.events(rt), nil))
				},
				"replay": func(rt *rapid.T) {
					h.t = rt
					require.NoError(rt, h.svc.ledger.Append(context.Background(), h.replays(rt), nil))
				},
				"fold": func(rt *rapid.T) { require.NoError(rt, h.l.follow(context.Background())) },
				"checkpoint": func(rt *rapid.T) {
					require.NoError(rt, h.l.checkpoint(context.Background()))
				},
				"whole checkpoint": func(rt *rapid.T) {
					h.l.stored.Format = 0
					require.NoError(rt, h.l.checkpoint(context.Background()))
				},
				"crash": func(rt *rapid.T) {
					h.t = rt
					h.lose()
					h.take()
				},
				"forget days": func(*rapid.T) {
					maps.DeleteFunc(h.l.state.days, func(_ int32, d *dayKeys) bool { return d.log.empty() })
				},
				"purge": func(rt *rapid.T) {
					v := event("a", rapid.SampledFrom([]string{"v1", "v2"}).Draw(rt, "viewer"), "US", pb.Event_PLAY, 0, h.now).Viewer
					_, err := h.svc.ledger.Purge(context.Background(), []ledger.Viewer{v}, func(*sqldb.Tx, int64) error { return nil })
					require.NoError(rt, err)
					purged++
				},
				"time": func(rt *rapid.T) {
					h.now = h.now.Add(rapid.SampledFrom([]time.Duration{time.Second, 2 * time.Minute, 4 * time.Minute, 3 * time.Hour, day}).Draw(rt, "passes"))
				},
				"check": func(rt *rapid.T) {
					h.t = rt
					h.check([]string{rapid.SampledFrom([]string{"US", "GB", "CA", "FR"}).Draw(rt, "in")})
				},
			})
			h.t = rt
			h.check([]string{"US", "GB", "CA", "FR"})
		})
	})
}

// What is left of a sum after several of its plays were replaced by ones of hours before has all
// its digits, however the fold is cut into pieces, also under new leaders.
func TestReplacedPlaysCostNoDigits(t *testing.T) {
	type replay struct {
		viewer, at string
		value      float64
	}
	cases := map[string]struct {
		halfLife time.Duration
		plays    []replay
	}{
		"two at once are 2^38": {20 * time.Minute, []replay{{"a", "23:00", 10}, {"b", "16:36", 10}, {"c", "10:24", 10}, {"a", "09:00", 20}, {"b", "09:00", 20}}},
		"one is 2^15":          {40 * time.Minute, []replay{{"a", "20:00", 10}, {"b", "10:00", 10}, {"a", "09:00", 20}}},
		"little by little":     {30 * time.Minute, []replay{{"a", "23:07", 0}, {"a", "22:01", 1}, {"a", "20:59", 2}, {"a", "20:02", 3}, {"a", "19:03", 4}, {"a", "17:58", 5}, {"a", "17:01", 6}, {"a", "16:04", 7}, {"a", "14:59", 8}, {"a", "14:03", 9}}},
	}
	for name, c := range cases {
		for _, every := range []int{1, 2, len(c.plays)} {
			t.Run(fmt.Sprintf("%s, folded %d at a time", name, every), func(t *testing.T) {
				ctx := t.Context()
				db, err := sqldb.Open(ctx, theatertest.SQLite(t))
				require.NoError(t, err)
				defer db.Close()
				sh := shelf.New()
				played := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
				shelve(t, sh, []*pb.Film{film("x")}, []*pb.Chart{hotChart(func(d *pb.Chart) { d.Name, d.HalfLife = "charts/brief", durationpb.New(c.halfLife) })})
				h := &history{t: t, svc: New(db, nil, sh, nil, nil), db: db, now: played.Add(25 * time.Hour)}
				h.take()
				for plays := range slices.Chunk(c.plays, every) {
					for _, p := range plays {
						at, err := time.Parse("15:04", p.at)
						require.NoError(t, err)
						occur := played.Add(time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute)
						require.NoError(t, h.svc.ledger.Append(ctx, []ledger.Event{event("x", p.viewer, "US", pb.Event_PLAY, p.value, occur)}, nil))
					}
					h.check([]string{"US", "FR"})
					require.NoError(t, h.l.checkpoint(ctx))
					h.lose()
					h.take()
				}
				h.check([]string{"US", "FR"})
			})
		}
	}
}

// A deposed leader's checkpoint does not take place.
func TestCheckpointNeedsTheLease(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		ctx := context.Background()
		h := open(t, url, theatertest.Redis(t))
		h.put(film("a"))
		old := h.lead()
		h.record(event("a", "v", "US", pb.Event_LIKE, 0, time.Now()))
		require.NoError(t, old.follow(ctx))
		_, _, err := h.db.Lease(ctx, leaseName, h.holder, 0)
		require.NoError(t, err)
		h.holder = "other"
		h.record(event("a", "w", "US", pb.Event_LIKE, 0, time.Now()))
		fresh := h.lead()
		require.NoError(t, fresh.follow(ctx))
		require.NoError(t, fresh.checkpoint(ctx))
		require.ErrorIs(t, old.checkpoint(ctx), sqldb.ErrLeaseLost)
		require.ErrorIs(t, old.publish(ctx, h.shelf.Current()), sqldb.ErrLeaseLost)
		again, err := h.take(ctx, fresh.config, fresh.epoch)
		require.NoError(t, err)
		require.Equal(t, fresh.state.watermark, again.state.watermark)
		require.Equal(t, uint32(2), again.state.markets[0].rows[0].counts[pb.Event_LIKE])
		require.True(t, slices.Equal(fresh.state.markets[0].sums, again.state.markets[0].sums))
	})
}
