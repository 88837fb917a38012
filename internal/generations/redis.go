package generations

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// batch is how many blobs travel in one round trip.
const batch = 32

var indexKey = id{"index", ""}

// redisKey is where an item lives. The braces keep all lists of a market in one slot of a
// cluster. Lists carry their number; counts have one place, for nobody asks for old ones.
func (s *Store) redisKey(key id, number int64) string {
	name := s.prefix + "{" + key.market + "}:" + key.chart
	if key.isStats() || key == indexKey {
		return name
	}
	return name + ":" + strconv.FormatInt(number, 10)
}

func (s *Store) channel() string { return s.prefix + "wake" }

// decode takes a blob apart. secret nil: see open.
func (s *Store) decode(secret []byte, key id, number int64, blob []byte) (*item, error) {
	h, body, err := open(secret, key.kind(), key, number, blob)
	if err != nil {
		return nil, err
	}
	it := &item{key: key, number: h.number}
	if key.isStats() {
		it.body = bytes.Clone(body)
		it.stats, err = decodeStats(h, body, s.intern)
	} else {
		it.list, err = decodeList(key, h, body, s.intern)
	}
	if err != nil {
		return nil, err
	}
	if secret != nil {
		it.head = bytes.Clone(blob[:len(blob)-len(body)])
	}
	return it, nil
}

// foreign reports an error that means "there is something else under this name", as opposed
// to Redis not answering or refusing.
func foreign(err error) bool {
	return err != nil && strings.HasPrefix(err.Error(), "WRONGTYPE")
}

// readIndex gives the index in Redis, nil when it is missing or not ours.
func (s *Store) readIndex(ctx context.Context) (*index, error) {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	blob, err := s.client.Get(ctx, s.redisKey(indexKey, 0)).Bytes()
	switch {
	case errors.Is(err, redis.Nil):
		return nil, nil
	case foreign(err):
		s.metrics.bad.Add(ctx, 1, fromRedis)
		return nil, nil //nolint:nilerr // what cannot be proven is not there
	case err != nil:
		return nil, err
	}
	h, body, err := open(s.secret, kindIndex, indexKey, 0, blob)
	if err == nil {
		var x *index
		if x, err = decodeIndex(h, body); err == nil {
			return x, nil
		}
	}
	s.metrics.bad.Add(ctx, 1, fromRedis)
	return nil, nil
}

// fetch reads the blobs of keys at their numbers. What is missing or not ours is left out.
func (s *Store) fetch(ctx context.Context, numbers map[id]int64) ([]*item, error) {
	keys := make([]id, 0, len(numbers))
	for key := range numbers {
		keys = append(keys, key)
	}
	var items []*item
	for part := range slices.Chunk(keys, batch) {
		ctx, cancel := context.WithTimeout(ctx, bulkTimeout)
		pipe := s.client.Pipeline()
		cmds := make([]*redis.StringCmd, len(part))
		for i, key := range part {
			cmds[i] = pipe.Get(ctx, s.redisKey(key, numbers[key]))
		}
		_, _ = pipe.Exec(ctx) // each command has its own error
		cancel()
		for i, key := range part {
			it, err := s.reply(ctx, key, numbers[key], cmds[i])
			if err != nil {
				return items, err
			}
			if it != nil {
				items = append(items, it)
			}
		}
	}
	return items, nil
}

// reply gives the item in a reply, nil for a miss, an error when Redis did not answer.
func (s *Store) reply(ctx context.Context, key id, number int64, cmd *redis.StringCmd) (*item, error) {
	blob, err := cmd.Bytes()
	switch {
	case errors.Is(err, redis.Nil):
		s.metrics.misses.Add(ctx, 1)
		return nil, nil
	case foreign(err):
		s.metrics.bad.Add(ctx, 1, fromRedis)
		return nil, nil //nolint:nilerr // what cannot be proven is not there
	case err != nil:
		return nil, err
	}
	it, err := s.decode(s.secret, key, number, blob)
	if err != nil {
		s.metrics.bad.Add(ctx, 1, fromRedis)
		return nil, nil //nolint:nilerr // what cannot be proven is not there
	}
	return it, nil
}

func (s *Store) askRedis(ctx context.Context, places []id, number int64, newer bool) *List {
	if !s.breaker.TryAcquirePermit() {
		return nil
	}
	pipe := s.client.Pipeline()
	cmds := make([]*redis.StringCmd, len(places))
	for i, key := range places {
		cmds[i] = pipe.Get(ctx, s.redisKey(key, number))
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	var found *item
	for i, key := range places {
		it, err := s.reply(ctx, key, number, cmds[i])
		if err != nil {
			s.breaker.RecordFailure()
			return nil
		}
		if it != nil {
			found = it
		}
	}
	s.breaker.RecordSuccess()
	return s.answer(places, number, found, !newer)
}

// mirrored gives the number of the index in Redis; 0 when Redis does not answer or has none.
func (s *Store) mirrored(ctx context.Context) int64 {
	if !s.breaker.IsClosed() {
		return 0
	}
	if x, err := s.readIndex(ctx); err == nil && x != nil {
		return x.number
	}
	return 0
}

// mirror writes fresh items and then the index to Redis. A failure is noted and mended later.
func (s *Store) mirror(ctx context.Context, fresh []*item) {
	if !s.breaker.TryAcquirePermit() {
		s.behind.Store(true)
		return
	}
	err := s.send(ctx, fresh)
	if err == nil {
		err = s.sendIndex(ctx)
	}
	s.sent(ctx, err)
}

func (s *Store) sent(ctx context.Context, err error) {
	if err == nil {
		s.breaker.RecordSuccess()
		s.behind.Store(false)
		return
	}
	var refused redis.Error
	if errors.As(err, &refused) { // it answers, for example that it is out of memory
		s.breaker.RecordSuccess()
	} else {
		s.breaker.RecordFailure()
	}
	if !s.behind.Swap(true) {
		slog.WarnContext(ctx, "redis does not take the ranked lists; they are served from SQL", "error", err)
	}
}

func (s *Store) send(ctx context.Context, items []*item) error {
	for part := range slices.Chunk(items, batch) {
		ctx, cancel := context.WithTimeout(ctx, bulkTimeout)
		pipe := s.client.Pipeline()
		for _, it := range part {
			if left := s.left(it); left > 0 {
				pipe.Set(ctx, s.redisKey(it.key, it.number), s.blobAgain(it), left)
			}
		}
		_, err := pipe.Exec(ctx)
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) isCurrent(it *item) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return it.retired.IsZero()
}

// left is how long an item shall still live in Redis.
func (s *Store) left(it *item) time.Duration {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if it.retired.IsZero() {
		return expiry
	}
	return expiry - time.Since(it.retired)
}

// blobAgain is blob for an item that others read: it changes nothing.
func (s *Store) blobAgain(it *item) []byte {
	if it.list == nil {
		return seal(s.secret, kindStats, it.key, it.number, len(it.stats), it.body)
	}
	return seal(s.secret, kindList, it.key, it.number, len(it.list.Entries), encodeList(it.list))
}

func (s *Store) sendIndex(ctx context.Context) error {
	s.mu.RLock()
	x := &index{number: s.number, lists: make(map[id]int64, len(s.current))}
	for key, it := range s.current {
		x.lists[key] = it.number
	}
	s.mu.RUnlock()
	ctx, cancel := context.WithTimeout(ctx, bulkTimeout)
	defer cancel()
	pipe := s.client.Pipeline()
	// The index outlives its lists: it is what tells a replica that there is a newer one.
	pipe.Set(ctx, s.redisKey(indexKey, 0), seal(s.secret, kindIndex, indexKey, x.number, len(x.lists), encodeIndex(x)), 24*time.Hour)
	pipe.Publish(ctx, s.channel(), x.number)
	_, err := pipe.Exec(ctx)
	return err
}
