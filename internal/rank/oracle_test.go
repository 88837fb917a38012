package rank

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/sqldb"
	"github.com/aitheater/theater/internal/theatertest"
)

func compute(chart string) *pb.ComputeChartRequest {
	return &pb.ComputeChartRequest{Source: &pb.ComputeChartRequest_Chart{Chart: chart}, Market: "US"}
}

// A caller without a deadline hears within the minute that the HTTP port gives it, be it that
// others are before it or that there is too much to read.
func TestReadingTheLedgerHasAnEnd(t *testing.T) {
	stuck := func(ctx context.Context) (int64, error) { <-ctx.Done(); return 0, fault.StoreUnavailable(ctx.Err()) }
	hot := hotChart(func(*pb.Chart) {})
	synctest.Test(t, func(t *testing.T) {
		s, began := &Service{heavy: make(chan struct{}, 1)}, time.Now()
		_, err := s.census(t.Context(), hot, "US", 0, stuck)
		e := fault.As(err)
		require.NotNil(t, e)
		assert.Equal(t, fault.DeadlineExceeded, e.Kind)
		assert.Equal(t, heavyLimit, time.Since(began))

		s.heavy <- struct{}{}
		began = time.Now()
		_, err = s.census(t.Context(), hot, "US", 0, stuck)
		e = fault.As(err)
		require.NotNil(t, e)
		assert.Equal(t, fault.ResourceExhausted, e.Kind)
		assert.NotZero(t, e.RetryAfter)
		assert.Equal(t, placeLimit, time.Since(began))
		<-s.heavy

		own, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		began = time.Now()
		_, err = s.census(own, hot, "US", 0, stuck)
		require.Equal(t, fault.DeadlineExceeded, fault.As(err).Kind)
		assert.Equal(t, 5*time.Minute, time.Since(began), "a caller's own deadline holds")
	})
}

// Nobody waits for the events to see what is new: while no event can be read, NEW answers and
// other charts end with their callers' deadlines.
func TestNewNeedsNoEvents(t *testing.T) {
	url := theatertest.Postgres(t)
	h := open(t, url, theatertest.Redis(t))
	h.put(film("a"))
	other, err := sqldb.Open(t.Context(), url)
	require.NoError(t, err)
	defer other.Close()
	require.NoError(t, other.Write(t.Context(), func(tx *sqldb.Tx) error {
		if _, err := tx.Exec("LOCK TABLE ledger_events, ledger_head IN ACCESS EXCLUSIVE MODE"); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		_, err := h.ComputeChart(ctx, compute("charts/hot"))
		require.True(t, fault.Is(err, pb.ErrorReason_DEADLINE_EXCEEDED), err)

		for range cap(h.heavy) {
			h.heavy <- struct{}{}
		}
		answer, err := h.ComputeChart(t.Context(), compute("charts/new"))
		require.NoError(t, err)
		require.Len(t, answer.Entries, 1)
		why, err := h.ExplainRank(t.Context(), &pb.ExplainRankRequest{Chart: "charts/new", Market: "US", Film: "films/a"})
		require.NoError(t, err)
		assert.Equal(t, answer.Entries[0].GetScore(), why.Score)
		return nil
	}))
}
