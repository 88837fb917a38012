package rank

import (
	"context"
	"maps"
	"time"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/generations"
	"github.com/aitheater/theater/internal/shelf"
	"github.com/aitheater/theater/internal/sqldb"
	"github.com/aitheater/theater/internal/telemetry"
)

// publish makes the lists of now.
func (l *leader) publish(ctx context.Context, snap *shelf.Snapshot) error {
	ctx, span := telemetry.Start(ctx, "rank.publish")
	defer span.End()
	began := time.Now()
	var charts []*pb.Chart
	var still []string
	for _, c := range inForce(snap, l.builtin) {
		if want := needsOf([]*pb.Chart{c}); l.state.needs.cover(want) {
			charts = append(charts, c)
		} else {
			still = append(still, c.Name)
		}
	}
	win, err := l.windows(ctx, charts)
	if err != nil {
		return err
	}
	lists := l.board.lists(charts, l.state, snap, win, l.before, began.Sub(l.refreshed) >= refreshEvery)
	lists = append(lists, l.standing(still)...)
	sc := span.SpanContext()
	for _, list := range lists {
		if list.Number == 0 {
			list.TraceID, list.SpanID = sc.TraceID(), sc.SpanID()
		}
	}
	fresh, err := l.gens.Publish(ctx, leaseName, l.epoch, lists)
	if err != nil {
		return err
	}
	if err := l.noteRuns(ctx, fresh, lists); err != nil {
		return err
	}
	if began.Sub(l.refreshed) >= refreshEvery || snap.Revision() != l.revision {
		l.refreshed = began
	}
	l.published, l.revision = began, snap.Revision()
	return nil
}

// standing gives the published lists of charts that cannot be computed before the ledger is
// folded anew.
func (l *leader) standing(charts []string) (lists []*generations.List) {
	for _, chart := range charts {
		for _, market := range l.board.markets(l.state) {
			if list := l.before(chart, market); list != nil {
				lists = append(lists, list)
			}
		}
	}
	return lists
}

// before gives the list that is published now.
func (l *leader) before(chart, market string) *generations.List {
	if list := l.gens.Latest(chart, market); list != nil && list.Market == market {
		return list
	}
	return nil
}

// noteRuns remembers how far the ledger was folded for the new lists, for ExplainRank.
func (l *leader) noteRuns(ctx context.Context, fresh, all []*generations.List) error {
	if len(fresh) == 0 {
		return nil
	}
	oldest, runs := l.state.at, map[int64]int64{}
	for _, list := range all {
		oldest = min(oldest, list.ComputeTime.UnixMicro())
	}
	for _, list := range fresh {
		runs[list.ComputeTime.UnixMicro()] = l.board.made[listKey{list.Chart, list.Market}].watermark
	}
	return l.db.Write(ctx, func(tx *sqldb.Tx) error {
		if err := tx.Guard(leaseName, l.epoch); err != nil {
			return err
		}
		return writeRuns(tx, runs, oldest)
	})
}

// publishStats makes the films' counts known.
func (l *leader) publishStats(ctx context.Context) error {
	if l.stats == nil {
		l.stats = make(map[string]*pb.FilmStats, len(l.state.films))
		for film, name := range l.state.films {
			if counts := l.state.stats(uint32(film)); counts != nil {
				l.stats[name] = counts
			}
		}
	}
	for film := range l.state.newStats {
		if counts := l.state.stats(film); counts != nil {
			l.stats[l.state.films[film]] = counts
		}
	}
	if err := l.gens.PublishStats(ctx, leaseName, l.epoch, maps.Clone(l.stats)); err != nil {
		return err
	}
	clear(l.state.newStats)
	l.counted = time.Now()
	return nil
}
