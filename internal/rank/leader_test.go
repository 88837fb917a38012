package rank

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/ledger"
	"github.com/aitheater/theater/internal/sqldb"
	"github.com/aitheater/theater/internal/theatertest"
)

// A leader that reads for longer than its lease lasts stays the leader.
func TestLongWorkKeepsTheLease(t *testing.T) {
	url := theatertest.Postgres(t)
	h := open(t, url, theatertest.Redis(t))
	h.put(film("a"))
	h.Config = Config{Interval: 50 * time.Millisecond, Tick: 10 * time.Millisecond, Lease: time.Second}
	lease := func() (epoch, expires int64) {
		require.NoError(t, h.db.Read(t.Context(), func(tx *sqldb.Tx) error {
			return tx.QueryRow("SELECT COALESCE(MAX(epoch), 0), COALESCE(MAX(expires), 0) FROM sqldb_leases WHERE name = $1", leaseName).Scan(&epoch, &expires)
		}))
		return epoch, expires
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	require.Eventually(t, func() bool { return h.gens.Latest("charts/new", "US") != nil }, 10*time.Second, 10*time.Millisecond)

	other, err := sqldb.Open(t.Context(), url)
	require.NoError(t, err)
	defer other.Close()
	h.record(event("a", "v", "US", pb.Event_LIKE, 0, time.Now()))
	var before int64
	require.NoError(t, other.Write(t.Context(), func(tx *sqldb.Tx) error { // no event can be read meanwhile
		if _, err := tx.Exec("LOCK TABLE ledger_events IN ACCESS EXCLUSIVE MODE"); err != nil {
			return err
		}
		_, before = lease()
		require.Eventually(t, func() bool { _, now := lease(); return now > before+2*time.Second.Microseconds() }, 30*time.Second, 50*time.Millisecond)
		return nil
	}))
	require.Eventually(t, func() bool { l := h.gens.Latest("charts/hot", "US"); return l != nil && len(l.Entries) == 1 }, 10*time.Second, 10*time.Millisecond)
	epoch, _ := lease()
	assert.EqualValues(t, 1, epoch)
	cancel()
	require.NoError(t, <-done)
	_, held, err := other.Lease(t.Context(), leaseName, "other", time.Second)
	require.NoError(t, err)
	assert.True(t, held, "it was given back")
}

// While the ledger is folded anew for a chart whose definition changed, all other charts go on,
// also under a new leader.
func TestChangedDefinitionHoldsUpNoOtherChart(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		ctx := t.Context()
		h := open(t, url, theatertest.Redis(t))
		h.put(film("a"), film("b"))
		c, err := h.CreateChart(ctx, &pb.CreateChartRequest{ChartId: "mine", Chart: hotChart(func(*pb.Chart) {})})
		require.NoError(t, err)
		now := time.Now()
		var events []ledger.Event
		const batch = 100
		for i := range 3*batch + 1 {
			events = append(events, event("a", fmt.Sprint(i), "US", pb.Event_PLAY, 60, now.Add(-time.Duration(i)*time.Second)))
		}
		h.record(events...)
		l := h.lead()
		l.batch = batch
		work := func() bool {
			t.Helper()
			more, err := l.work(ctx)
			require.NoError(t, err)
			return more
		}
		entries := func(chart string) int {
			if list := h.gens.Latest(chart, "US"); list != nil {
				return len(list.Entries)
			}
			return 0
		}
		sees := func(r int64) { // the shelf
			require.Eventually(t, func() bool { return h.shelf.Current().Revision() >= r }, 10*time.Second, time.Millisecond)
		}
		sees(c.Revision)
		require.False(t, work())
		require.Equal(t, 1, entries("charts/hot"))
		require.NoError(t, l.checkpoint(ctx))
		first := h.gens.Latest(c.Name, "US")
		require.NotNil(t, first)

		c.HalfLife = durationpb.New(2 * day)
		changed, err := h.UpdateChart(ctx, &pb.UpdateChartRequest{Chart: c})
		require.NoError(t, err)
		sees(changed.Revision)
		for turn, by := range []string{"the same leader", "a new one"} {
			if turn == 1 {
				l = h.lead()
				l.batch = batch
			}
			h.record(event("b", by, "US", pb.Event_SHARE, 0, now.Add(-time.Duration(turn)*day)))
			require.True(t, work())
			require.NotNil(t, l.next)
			assert.Less(t, l.next.watermark, l.state.watermark)
			assert.Equal(t, 2, entries("charts/hot"), by)
			assert.Equal(t, first.Number, h.gens.Latest(c.Name, "US").Number, "its last list goes on")
			require.NoError(t, l.checkpoint(ctx))
		}
		for work() {
			h.record(event("b", fmt.Sprint(l.next.watermark), "US", pb.Event_PLAY, 60, now))
		}
		require.Nil(t, l.next)
		work()
		list := h.gens.Latest(c.Name, "US")
		assert.Equal(t, changed.RevisionId, list.ChartRevisionID)
		want, err := h.ComputeChart(ctx, &pb.ComputeChartRequest{Source: &pb.ComputeChartRequest_Chart{Chart: c.Name}, Market: "US"})
		require.NoError(t, err)
		require.Len(t, want.Entries, len(list.Entries))
		for i, e := range want.Entries {
			assert.Equal(t, e.Film, list.Entries[i].Film)
			assert.InEpsilon(t, *e.Score, list.Entries[i].Score, 1e-3) // seconds passed
		}
		require.NoError(t, l.checkpoint(ctx))
		fresh := h.lead()
		require.NoError(t, fresh.follow(ctx))
		assert.Equal(t, l.state.needs, fresh.state.needs)
		assert.Equal(t, l.state.markets[0].rows[0].counts, fresh.state.markets[0].rows[0].counts)
		h.record(events[:batch/2]...) // seen long ago
		require.NoError(t, fresh.follow(ctx))
		assert.Equal(t, l.state.markets[0].rows[0].counts, fresh.state.markets[0].rows[0].counts)
	})
}

// A chart that is made before anything happened is ranked like the others.
func TestNewChartOnAnEmptyLedger(t *testing.T) {
	ctx := t.Context()
	h := open(t, theatertest.SQLite(t), theatertest.Redis(t))
	h.put(film("a"), film("b"))
	require.Eventually(t, func() bool { return h.shelf.Current().Film("films/b") != nil }, 10*time.Second, time.Millisecond)
	l := h.lead()
	_, err := l.work(ctx)
	require.NoError(t, err)
	c, err := h.CreateChart(ctx, &pb.CreateChartRequest{ChartId: "mine", Chart: hotChart(func(c *pb.Chart) { c.HalfLife = durationpb.New(time.Hour) })})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return h.shelf.Current().Revision() >= c.Revision }, 10*time.Second, time.Millisecond)
	_, err = l.work(ctx)
	require.NoError(t, err)
	h.record(event("b", "v", "US", pb.Event_PLAY, 60, time.Now()))
	_, err = l.work(ctx)
	require.NoError(t, err)
	list := h.gens.Latest(c.Name, "US")
	require.NotNil(t, list)
	require.Len(t, list.Entries, 1)
	assert.Equal(t, "films/b", list.Entries[0].Film)
}
