package app_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/app"
	"github.com/aitheater/theater/internal/theatertest"
	"github.com/aitheater/theater/internal/theatertest/house"
)

// chronicle has the database itself write down which replica changed what the ranker owns, and
// under which epoch of its lease.
const chronicle = `
CREATE TABLE chronicle (n BIGSERIAL, tab TEXT, replica TEXT, epoch BIGINT);
CREATE FUNCTION chronicle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	INSERT INTO chronicle (tab, replica, epoch) SELECT TG_TABLE_NAME, current_setting('application_name'), epoch FROM sqldb_leases WHERE name = 'rank';
	RETURN NULL;
END $$;
CREATE TRIGGER chronicle AFTER INSERT OR UPDATE ON rank_state FOR EACH STATEMENT EXECUTE FUNCTION chronicle();
CREATE TRIGGER chronicle AFTER INSERT OR UPDATE ON rank_runs FOR EACH STATEMENT EXECUTE FUNCTION chronicle();
CREATE TRIGGER chronicle AFTER INSERT OR UPDATE ON generations_lists FOR EACH STATEMENT EXECUTE FUNCTION chronicle();`

// members are three replicas, each on lines of its own.
type members struct {
	t     *testing.T
	db    *pgx.Conn
	lines map[string]*member
}

type member struct {
	*house.House
	sql, redis *theatertest.Proxy
	signals    atomic.Pointer[pb.SignalServiceClient] // another one after a restart
}

func newMembers(t *testing.T) *members {
	store, redis := theatertest.Postgres(t), theatertest.NewRedis(t)
	m := &members{t: t, lines: map[string]*member{}}
	parsed, err := url.Parse(store)
	require.NoError(t, err)
	for _, name := range []string{"one", "two", "three"} {
		l := &member{sql: theatertest.NewProxy(t, parsed.Host), redis: theatertest.NewProxy(t, redis.Addr)}
		l.House = house.Start(t, app.Config{
			Store: l.sql.URL(store) + "&application_name=" + name, Redis: l.redis.URL(redis.URL), Generations: 200 * time.Millisecond,
		})
		l.started()
		m.lines[name] = l
	}
	m.db, err = pgx.Connect(t.Context(), store)
	require.NoError(t, err)
	t.Cleanup(func() { _ = m.db.Close(context.Background()) })
	_, err = m.db.Exec(t.Context(), chronicle)
	require.NoError(t, err)
	return m
}

// leader waits for a leader of a later epoch, until it has published lists and stored its state.
func (m *members) leader(after int64, what string) (name string, epoch int64) {
	m.t.Helper()
	took := eventually(m.t, time.Minute, "a leader after "+what, func() bool {
		err := m.db.QueryRow(m.t.Context(), `SELECT replica, epoch FROM chronicle WHERE epoch > $1
			GROUP BY replica, epoch HAVING COUNT(DISTINCT tab) = 3 ORDER BY epoch DESC LIMIT 1`, after).Scan(&name, &epoch)
		if !errors.Is(err, pgx.ErrNoRows) {
			require.NoError(m.t, err)
		}
		return err == nil
	})
	m.t.Logf("%s after %s, %s leads", took.Round(100*time.Millisecond), what, name)
	return name, epoch
}

// audience sends events until it is stopped: each batch to two replicas at once, again until
// one of them has accepted it, and now and then an old batch again. It begins with as many
// for every film as the charts ask for, so that each chart has all of them.
type audience struct {
	*members
	sent  [][]*pb.Event
	stops chan struct{}
	done  sync.WaitGroup
}

func (m *members) audience() *audience {
	a := &audience{members: m, stops: make(chan struct{})}
	a.done.Go(func() {
		for n := range 3 * 5 {
			events := a.events()
			for i, e := range events { // likes, ratings, plays
				e.Kind, e.Value, e.Film = events[n%3].Kind, events[n%3].Value, film(i)
			}
			a.send(events)
			a.sent = append(a.sent, events)
		}
		for {
			select {
			case <-a.stops:
				return
			default:
			}
			if n := len(a.sent); n > 0 && rand.IntN(4) == 0 {
				a.send(a.sent[rand.IntN(n)])
				continue
			}
			events := a.events()
			a.send(events)
			a.sent = append(a.sent, events)
		}
	})
	return a
}

func (a *audience) stop() { close(a.stops); a.done.Wait() }

// events are of viewers nobody has heard of before.
func (a *audience) events() (events []*pb.Event) {
	for i := range films {
		e := &pb.Event{
			Film: film(int(math.Sqrt(float64(rand.IntN(films * films))))), ViewerKey: fmt.Sprintf("viewer-%d-%d", len(a.sent), i), Market: "US",
			OccurTime: timestamppb.New(time.Now().Add(-time.Duration(rand.IntN(3600)) * time.Second)), Audience: pb.Viewer_ADULT,
		}
		switch i % 3 {
		case 0:
			e.Kind = pb.Event_LIKE
		case 1:
			e.Kind, e.Value = pb.Event_RATE, float64(1+rand.IntN(10))/2
		case 2:
			e.Kind, e.Value = pb.Event_PLAY, float64(rand.IntN(5000))
		}
		events = append(events, e)
	}
	return events
}

func (a *audience) send(events []*pb.Event) {
	names := []string{"one", "two", "three"}
	for accepted := false; !accepted && !a.t.Failed(); {
		rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		var answers [2]bool
		var calls sync.WaitGroup
		for i := range answers {
			calls.Go(func() { answers[i] = a.lines[names[i]].accepts(events) })
		}
		calls.Wait()
		accepted = answers[0] || answers[1]
	}
	time.Sleep(20 * time.Millisecond)
}

// started is called after every start.
func (m *member) started() {
	client := m.Signals
	m.signals.Store(&client)
}

func (m *member) accepts(events []*pb.Event) bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	answer, err := (*m.signals.Load()).RecordEvents(ctx, &pb.RecordEventsRequest{Events: events})
	return err == nil && !slices.ContainsFunc(answer.GetResults(), func(r *pb.EventResult) bool { return r.GetStatus() != pb.EventResult_ACCEPTED })
}

const films = 12

func film(i int) string { return fmt.Sprintf("films/f%d", i) }

// served is a whole chart as viewers get it, with the time it is of.
func (m *member) served(ctx context.Context, chart string) (entries []*pb.ChartEntry, at *timestamppb.Timestamp, err error) {
	page, err := m.Listing.ListRankedFilms(ctx, &pb.ListRankedFilmsRequest{Chart: chart, Viewer: adult, PageSize: 100})
	for _, f := range page.GetFilms() {
		entries = append(entries, &pb.ChartEntry{Film: f.GetCard().GetName(), Rank: f.GetRank(), Score: proto.Float64(f.GetScore())})
	}
	return entries, page.GetGeneration().GetComputeTime(), err
}

// difference says in what a served chart is not what ComputeChart makes of the ledger; empty
// where it is the same. A call that fails is a difference too, which passes.
func (m *member) difference(ctx context.Context, chart string) string {
	got, at, err := m.served(ctx, chart)
	if err != nil {
		return err.Error()
	}
	computed, err := m.Charts.ComputeChart(ctx, &pb.ComputeChartRequest{
		Source: &pb.ComputeChartRequest_Chart{Chart: chart}, Market: "US", AtTime: at, Limit: 100, Viewer: adult,
	})
	if err != nil {
		return err.Error()
	}
	want := computed.GetEntries()
	if len(got) != len(want) || len(got) != films {
		return fmt.Sprintf("%d served, %d computed", len(got), len(want))
	}
	for i := range got {
		if got[i].Film != want[i].Film || got[i].Rank != want[i].Rank || math.Abs(got[i].GetScore()-want[i].GetScore()) > 1e-9*want[i].GetScore() {
			return fmt.Sprintf("%v served, %v computed", got[i], want[i])
		}
	}
	return ""
}

// TestP2_EventsCountOnceWhateverBecomesOfLeaders has three replicas on one PostgreSQL and one Redis
// lose one leader after the other: one stands still for longer than its lease and wakes up, one
// loses its line to SQL alone, one dies. Events come all the time, most of them more than once.
// In the end every replica serves what the ledger says, and of every epoch of the lease one
// replica's writes took place.
func TestP2_EventsCountOnceWhateverBecomesOfLeaders(t *testing.T) {
	t.Parallel()
	m := newMembers(t)
	var all []*pb.Film
	for i := range films {
		all = append(all, feature(film(i)[len("films/"):]))
	}
	load(t, m.lines["one"].House, all...)
	a := m.audience()
	paused, first := m.leader(0, "the start")
	m.lines[paused].sql.BlackHole()
	m.lines[paused].redis.BlackHole()
	cut, second := m.leader(first, "a pause")
	require.NotEqual(t, paused, cut)
	m.lines[paused].redis.Heal() // what it wrote meanwhile arrives now
	m.lines[paused].sql.Heal()

	m.lines[cut].sql.Cut()
	killed, third := m.leader(second, "a cut line")
	require.NotEqual(t, cut, killed)
	m.lines[cut].sql.Heal()

	m.lines[killed].sql.Cut() // no word reaches the stores any longer
	m.lines[killed].redis.Cut()
	m.lines[killed].Stop()
	last, _ := m.leader(third, "a death")
	require.NotEqual(t, killed, last)
	m.lines[killed].sql.Heal()
	m.lines[killed].redis.Heal()
	m.lines[killed].Restart()
	m.lines[killed].started()
	a.stop()

	likes := map[string]int64{}
	for _, events := range a.sent {
		for _, e := range events {
			if e.Kind == pb.Event_LIKE {
				likes[e.Film]++
			}
		}
	}
	for name, l := range m.lines {
		for _, chart := range []string{"charts/hot", "charts/rising", "charts/most-watched", "charts/top-rated", "charts/new"} {
			began, what := time.Now(), l.difference(t.Context(), chart)
			for ; what != "" && time.Since(began) < time.Minute; what = l.difference(t.Context(), chart) {
				time.Sleep(50 * time.Millisecond)
			}
			require.Empty(t, what, "%s of %s", chart, name)
		}
		for i := range films {
			answer, err := l.Charts.ExplainRank(t.Context(), &pb.ExplainRankRequest{Chart: "charts/hot", Market: "US", Film: film(i)})
			require.NoError(t, err)
			counted := int64(0)
			for _, c := range answer.GetComponents() {
				if c.GetName() == "LIKE" {
					counted = c.GetCount()
				}
			}
			assert.Equal(t, likes[film(i)], counted, "%s by %s", film(i), name)
		}
	}
	m.oneWriterAnEpoch()
	t.Logf("%d batches of events", len(a.sent))
}

func (m *members) oneWriterAnEpoch() {
	rows, err := m.db.Query(m.t.Context(), "SELECT replica, epoch FROM chronicle ORDER BY n")
	require.NoError(m.t, err)
	writers, last := map[int64]string{}, int64(0)
	var name string
	var epoch int64
	_, err = pgx.ForEachRow(rows, []any{&name, &epoch}, func() error {
		if writers[epoch] == "" {
			writers[epoch] = name
		}
		require.Equal(m.t, writers[epoch], name, "epoch %d", epoch)
		require.GreaterOrEqual(m.t, epoch, last)
		last = epoch
		return nil
	})
	require.NoError(m.t, err)
	require.GreaterOrEqual(m.t, len(writers), 4)
}
