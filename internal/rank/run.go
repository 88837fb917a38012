package rank

import (
	"context"
	"log/slog"
	"slices"
	"time"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/generations"
	"github.com/aitheater/theater/internal/ledger"
	"github.com/aitheater/theater/internal/shelf"
	"github.com/aitheater/theater/internal/telemetry"
)

// leaseName is the lease of the one leader.
const leaseName = "rank"

// Run ranks while this process holds the lease, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	config := s.Config.filled()
	tick := time.NewTicker(config.Tick)
	defer tick.Stop()
	var last time.Time
	for {
		epoch, held, err := s.db.Lease(ctx, leaseName, s.holder, config.Lease)
		if err == nil && held && time.Since(last) >= config.Interval {
			err = s.publish(ctx, epoch)
			last = time.Now()
		}
		if err != nil && ctx.Err() == nil {
			slog.WarnContext(ctx, "the charts stand still", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (s *Service) publish(ctx context.Context, epoch int64) error {
	ctx, span := telemetry.Start(ctx, "rank.publish")
	defer span.End()
	snap, now := s.shelf.Current(), s.clock.Now()
	markets, err := s.markets(ctx)
	if err != nil {
		return err
	}
	var lists []*generations.List
	for _, c := range inForce(snap, s.builtin) {
		for _, m := range markets {
			films, err := s.oracle(ctx, snap, c, m, now.UnixMicro(), func(*shelf.Entry) bool { return true })
			if err != nil {
				return err
			}
			l := &generations.List{Chart: c.Name, Market: m, ChartRevisionID: c.RevisionId, ComputeTime: now, Head: len(films)}
			sc := span.SpanContext()
			l.TraceID, l.SpanID = sc.TraceID(), sc.SpanID()
			v := shelf.NewViewer(&pb.Viewer{Market: m, Audience: pb.Viewer_ADULT})
			rank := int32(0)
			for _, f := range films {
				e := generations.Entry{Film: f.film.Name, Score: f.score.float()}
				if verdict, _ := snap.Gate(v, f.film, now); verdict != shelf.Hidden {
					rank++
					e.Rank = rank
				}
				l.Entries = append(l.Entries, e)
			}
			lists = append(lists, l)
		}
	}
	_, err = s.gens.Publish(ctx, leaseName, epoch, lists)
	return err
}

func (s *Service) markets(ctx context.Context) ([]string, error) {
	markets := []string{generations.World}
	head, err := s.ledger.Head(ctx)
	if err != nil {
		return nil, err
	}
	err = s.ledger.All(ctx, "", head, func(e *ledger.Event) error {
		if !slices.Contains(markets, e.Market) {
			markets = append(markets, e.Market)
		}
		return nil
	})
	return markets, err
}
