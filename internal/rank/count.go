package rank

import (
	"context"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/ledger"
)

// What counts, said as plainly as it can be. The ranker's fold says the same thing one event at
// a time; the tests hold the two against each other.

// slotKey is what an event is counted once for, within its UTC day. For RATE the day does
// not matter.
type slotKey struct {
	viewer       ledger.Viewer
	market, film string
	kind         pb.Event_Kind
}

// eachCounted hands fn the events of a market ("" = all markets) that count as of at
// (microseconds since 1970, inclusive), day by day, ratings last. What counts is decided over
// the whole log up to the sequence number through and only then cut at at: a first event after
// at hides a second one before it. own reports whether there was any event of the market.
func eachCounted(ctx context.Context, log *ledger.Ledger, market string, at, through int64, fn func(ledger.Event)) (own bool, err error) {
	first, last, err := log.Span(ctx)
	if err != nil {
		return false, err
	}
	ratings, today := &pile{at: map[slotKey]int{}}, &pile{at: map[slotKey]int{}}
	day := first
	hand := func(p *pile) {
		for _, e := range p.events {
			if e.Occur <= at {
				own = true
				fn(e)
			}
		}
		clear(p.at)
		p.events = p.events[:0]
	}
	err = log.Days(ctx, first, min(last, ledger.DayOf(at)), through, market, func(e *ledger.Event) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if e.Day != day {
			hand(today)
			day = e.Day
		}
		switch {
		case e.Kind <= 0 || int(e.Kind) >= nKinds: // of a later version
		case e.Kind != pb.Event_RATE:
			today.put(e, longer(e))
		case e.Occur <= at:
			ratings.put(e, later(e))
		}
		return nil
	})
	hand(today)
	hand(ratings)
	return own, err
}

// longer says when an event counts instead of an earlier one of its key.
func longer(e *ledger.Event) func(old *ledger.Event) bool {
	return func(old *ledger.Event) bool { return e.Kind == pb.Event_PLAY && e.Value > old.Value }
}

// later says when a rating counts instead of another one of its key.
func later(e *ledger.Event) func(old *ledger.Event) bool {
	return func(old *ledger.Event) bool {
		return e.Occur > old.Occur || e.Occur == old.Occur && e.Seq < old.Seq
	}
}

// pile holds one event for each key, in the order of the keys' first events.
type pile struct {
	at     map[slotKey]int
	events []ledger.Event
}

// put keeps e if it is the first of its key or better than the one that was kept.
func (p *pile) put(e *ledger.Event, better func(old *ledger.Event) bool) {
	key := slotKey{e.Viewer, e.Market, e.Film, e.Kind}
	i, seen := p.at[key]
	switch {
	case !seen:
		p.at[key] = len(p.events)
		p.events = append(p.events, *e)
	case better(&p.events[i]):
		p.events[i] = *e
	}
}
