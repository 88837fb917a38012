package generations

import (
	"context"
	"strconv"
	"time"
)

// ask fetches one list for a request: from Redis unless that is known to be away, and when the
// list is newer than all that this replica has heard of, it waits a moment for the follower.
//
// SQL has it, whatever Redis does: a list is written there before any replica shows it, and
// stands there until every replica had time to read it (cadence.stand).
func (s *Store) ask(ctx context.Context, chart, market string, number int64, newer bool) *List {
	places := []id{{chart, market}}
	if market != World {
		places = append(places, id{chart, World})
	}
	name := places[0].String() + "|" + strconv.FormatInt(number, 10)
	l := s.once(ctx, name, askTimeout, func(ctx context.Context) *List { return s.askRedis(ctx, places, number, newer) })
	if l != nil || !newer {
		return l
	}
	return s.await(ctx, places[0], number)
}

// once calls f for all who want the same at the time, and waits no longer than limit,
// whatever f does.
func (s *Store) once(ctx context.Context, name string, limit time.Duration, f func(context.Context) *List) *List {
	answer := s.asks.DoChan(name, func() (any, error) {
		// The first caller's going away must not fail the others: the context is detached.
		detached, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
		defer cancel()
		return f(detached), nil
	})
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case r := <-answer:
		return r.Val.(*List)
	case <-timer.C:
	case <-ctx.Done():
	}
	return nil
}

// await wakes the follower of SQL and gives the list once that has brought it; nil when it
// does not exist, or the follower takes longer than a viewer should wait. No request reads SQL.
func (s *Store) await(ctx context.Context, key id, number int64) *List {
	if s.db.Down() {
		return nil
	}
	timer := time.NewTimer(awaitTimeout)
	defer timer.Stop()
	for look := 0; ; look++ {
		s.mu.RLock()
		it, looked := s.kept[number], s.looked
		s.mu.RUnlock()
		if it != nil {
			return it.of(key.chart, key.market)
		}
		if look == 2 { // the first may have begun before the list was there
			return s.answer([]id{key}, number, nil, true)
		}
		poke(s.hurry)
		select {
		case <-looked:
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// answer keeps what was found for a request, or notes, if nothing was and sure is set, that
// the list is nowhere. A poll may have brought it meanwhile.
func (s *Store) answer(places []id, number int64, found *item, sure bool) *List {
	s.mu.Lock()
	defer s.mu.Unlock()
	it := s.kept[number]
	switch {
	case it != nil:
		return it.of(places[0].chart, places[0].market)
	case found != nil:
		found.since, found.retired = time.Now(), time.Now()
		s.keep(found)
		return found.list
	case sure && len(s.gone) < 1<<16:
		s.gone[number] = time.Now()
	}
	return nil
}
