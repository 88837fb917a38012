package generations

import (
	"bytes"
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/aitheater/theater/internal/sqldb"
)

// Run loads the latest lists (from SQL at first, then by Redis, and by SQL what Redis does not
// have) and keeps them fresh until ctx ends. ready is closed when the first load is done.
func (s *Store) Run(ctx context.Context, ready chan<- struct{}) error {
	for s.loadSQL(ctx) != nil {
		if !sleep(ctx, 200*time.Millisecond) {
			return nil
		}
	}
	close(ready)
	var listeners sync.WaitGroup
	listeners.Go(func() { s.listen(ctx) })
	listeners.Go(func() { s.followSQL(ctx) })
	defer listeners.Wait()
	var scrubbed time.Time
	tick := time.NewTicker(s.every.poll)
	defer tick.Stop()
	for {
		s.poll(ctx)
		if s.leading() && s.breaker.IsClosed() && (s.behind.Load() || time.Since(scrubbed) > s.every.scrub) {
			scrubbed = time.Now()
			s.scrub(ctx)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-s.wake:
		}
	}
}

// hurryGap is the least time between two looks into SQL, however many requests want one.
const hurryGap = 5 * time.Millisecond

// followSQL loads what SQL has and Redis did not bring. It does not wait for Redis, which may
// hold a poll up for seconds.
func (s *Store) followSQL(ctx context.Context) {
	failing := false
	tick := time.NewTicker(s.every.sql)
	defer tick.Stop()
	for sleep(ctx, hurryGap) {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-s.hurry:
		}
		err := s.loadSQL(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			slog.WarnContext(ctx, "the ranked lists cannot be read from SQL; the last ones go on", "error", err)
		}
		if failing = err != nil; failing {
			continue
		}
		s.mu.Lock()
		close(s.looked)
		s.looked = make(chan struct{})
		s.mu.Unlock()
	}
}

// listen turns messages, and reconnections (in whose gap messages are lost), into polls. The
// poll by the clock goes on all the same: a Redis that hangs sends no error.
func (s *Store) listen(ctx context.Context) {
	sub := s.client.Subscribe(ctx, s.channel())
	defer sub.Close()
	messages := sub.ChannelWithSubscriptions(redis.WithChannelSize(1))
	for {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-messages:
			if !ok {
				return
			}
			poke(s.wake)
		}
	}
}

// poll asks Redis for the index and fetches what is newer.
func (s *Store) poll(ctx context.Context) {
	x, err := s.readIndex(ctx)
	if err != nil {
		if ctx.Err() == nil {
			s.breaker.Open()
		}
		return
	}
	if !s.breaker.IsClosed() {
		s.breaker.Close()
	}
	s.mu.Lock()
	number := s.number
	newer := map[id]int64{}
	if x != nil {
		s.seen = max(s.seen, x.number)
		for key, n := range x.lists {
			if it := s.current[key]; it == nil || it.number < n {
				newer[key] = n
			}
		}
	}
	s.mu.Unlock()
	switch {
	case x == nil || x.number < number:
		// Flushed, poisoned, or failed over to an older replica.
		if s.leading() && number > 0 {
			s.behind.Store(true) // scrub follows
		}
		return
	case x.number == number:
		return
	}
	items, err := s.fetch(ctx, newer)
	whole := err == nil && len(items) == len(newer)
	if err == nil && !whole && s.leading() {
		s.behind.Store(true) // the index names what is not there
	}
	s.install(items, x.lists, x.number, whole)
}

// loadSQL installs what SQL has and this process has not; it reads one row when that is nothing.
func (s *Store) loadSQL(ctx context.Context) error {
	var items []*item
	var last int64
	var numbers map[id]int64
	err := s.db.Read(ctx, func(tx *sqldb.Tx) (err error) {
		if last, err = readLast(tx); err != nil {
			return err
		}
		s.mu.RLock()
		known := s.number
		s.mu.RUnlock()
		items, numbers = nil, nil
		if last <= known {
			return nil
		}
		if numbers, err = readNumbers(tx); err != nil {
			return err
		}
		s.mu.RLock()
		missing := maps.Clone(numbers)
		maps.DeleteFunc(missing, func(key id, n int64) bool { it := s.current[key]; return it != nil && it.number >= n })
		s.mu.RUnlock()
		for key := range missing {
			it, err := s.readItem(tx, key)
			if err != nil {
				return err
			}
			if it != nil {
				items = append(items, it)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.install(items, numbers, last, true)
	return nil
}

// scrub makes Redis hold, under its own name, every list this process keeps, and the index.
// Current ones get their full time again; replaced ones run out.
func (s *Store) scrub(ctx context.Context) {
	s.mu.RLock()
	items := slices.Collect(maps.Values(s.kept))
	for _, it := range s.current {
		if it.list == nil {
			items = append(items, it)
		}
	}
	s.mu.RUnlock()
	var wrong []*item
	for part := range slices.Chunk(items, 4*batch) {
		found, err := s.inspect(ctx, part)
		if err != nil {
			s.sent(ctx, err)
			return
		}
		wrong = append(wrong, found...)
	}
	err := s.send(ctx, wrong)
	if err == nil {
		err = s.sendIndex(ctx)
	}
	s.sent(ctx, err)
}

// inspect gives those items whose copy in Redis does not begin as it should.
func (s *Store) inspect(ctx context.Context, items []*item) ([]*item, error) {
	ctx, cancel := context.WithTimeout(ctx, bulkTimeout)
	defer cancel()
	pipe := s.client.Pipeline()
	cmds := make([]*redis.StringCmd, len(items))
	for i, it := range items {
		name := s.redisKey(it.key, it.number)
		cmds[i] = pipe.GetRange(ctx, name, 0, max(int64(len(it.head))-1, 0))
		if s.isCurrent(it) {
			pipe.Expire(ctx, name, expiry)
		}
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	var wrong []*item
	for i, it := range items {
		head, err := cmds[i].Bytes()
		switch {
		case err != nil && !foreign(err):
			return nil, err
		case err != nil, len(it.head) == 0, !bytes.Equal(head, it.head):
			wrong = append(wrong, it)
		}
	}
	return wrong, nil
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
