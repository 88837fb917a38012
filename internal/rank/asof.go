package rank

import (
	"context"
	"time"

	"github.com/aitheater/theater/internal/generations"
	"github.com/aitheater/theater/internal/shelf"
)

// AsOf gives a chart's list in a market as it would have been published at a time, counted from
// the ledger, with the catalogue of then. It has no number. Events that retention has removed
// since are missing from it.
func (s *Service) AsOf(ctx context.Context, snap *shelf.Snapshot, chart, market string, at time.Time) (*generations.List, error) {
	c := snap.Chart(chart)
	if c == nil {
		c = s.builtinNamed(chart)
	}
	if c == nil {
		return nil, nil
	}
	counted, err := s.census(ctx, c, market, at.UnixMicro(), s.ledger.Head)
	if err != nil {
		return nil, err
	}
	st, b := newState(needs{}), newBoard()
	st.at = at.UnixMicro()
	b.learn(st, snap)
	b.pick.begin(b, st, snap)
	b.pick.room = generations.MaxEntries // nothing is missing that the leader's list may have
	b.pick.enter([]string{market})
	for id := range b.facts {
		if f := &b.facts[id]; f.live {
			if x, ok := counted.score(f.entry, market); ok {
				b.pick.candidates = append(b.pick.candidates, candidate{uint32(id), x})
			}
		}
	}
	l := &generations.List{Chart: c.Name, Market: market, ChartRevisionID: c.RevisionId, ComputeTime: at.UTC(), HalfLife: scoreHalfLife(c)}
	l.Entries, l.Head = b.pick.take(scoreOf(1))
	return l, nil
}
