package rank

import (
	"context"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/aitheater/theater/internal/telemetry"
)

// catchUp folds the ledger up to where it stood at the beginning.
func (l *leader) catchUp(ctx context.Context) error {
	var span trace.Span
	head, err := l.ledger.Head(ctx)
	if err != nil {
		return err
	}
	l.behind.Store(max(0, head-l.state.watermark))
	if head <= l.state.watermark {
		return nil
	}
	ctx, span = telemetry.Start(ctx, "rank.fold", attribute.Int64("from", l.state.watermark), attribute.Int64("to", head))
	defer span.End()
	for l.state.watermark < head {
		if err := l.foldBatch(ctx, l.state, span); err != nil {
			return err
		}
		l.behind.Store(max(0, head-l.state.watermark))
		if time.Since(l.checkpointed) >= l.config.Checkpoint {
			if err := l.checkpoint(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// foldBatch folds the next events into a state.
func (l *leader) foldBatch(ctx context.Context, s *state, span trace.Span) error {
	for {
		b, err := l.ledger.After(ctx, s.watermark, l.batch)
		if err != nil {
			return err
		}
		if err := l.purge(ctx, s, b.Purges); err != nil {
			return err
		}
		read, err := l.prepare(ctx, s, b.Events)
		if err != nil {
			return err
		}
		if read {
			// A purge between the two readings would have renamed what the second one saw.
			again, err := l.ledger.After(ctx, s.watermark, 1)
			if err != nil {
				return err
			}
			if len(again.Purges) != len(b.Purges) {
				continue
			}
		}
		s.fold(b)
		s.forgetDays()
		for _, parent := range b.Traces {
			carrier := propagation.MapCarrier{"traceparent": parent}
			if sc := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), carrier)); sc.IsValid() {
				span.AddLink(trace.Link{SpanContext: sc})
			}
		}
		return nil
	}
}

// want looks whether the state has what the charts in force need, and begins or ends a second
// one accordingly.
func (l *leader) want(ctx context.Context, want needs) {
	switch {
	case l.state.needs.cover(want):
		l.next = nil
	case l.state.watermark == 0:
		l.replace(newState(want))
	case l.next == nil || !l.next.needs.cover(want):
		slog.InfoContext(ctx, "a chart asks for numbers nobody counted: the ledger is folded from its beginning; its lists stand still meanwhile")
		l.next = newState(want)
	}
}

// refold folds the next piece of the ledger into the next state. When that has caught up it
// takes the present one's place.
func (l *leader) refold(ctx context.Context) error {
	ctx, span := telemetry.Start(ctx, "rank.refold", attribute.Int64("from", l.next.watermark), attribute.Int64("to", l.state.watermark))
	defer span.End()
	l.next.advance(l.state.at)
	if l.next.watermark < l.state.watermark {
		if err := l.foldBatch(ctx, l.next, span); err != nil {
			return err
		}
	}
	if l.next.watermark < l.state.watermark {
		return nil
	}
	if err := l.repair(ctx, l.next); err != nil {
		return err
	}
	l.replace(l.next)
	slog.InfoContext(ctx, "every chart in force is counted again", "watermark", l.state.watermark)
	return nil
}

// replace puts another state in the present one's place. The next checkpoint is written whole.
func (l *leader) replace(s *state) {
	l.state, l.next, l.board, l.stats = s, nil, newBoard(), nil
	l.stored, l.refreshed = checkpoint{Last: l.stored.Last}, time.Time{}
}
