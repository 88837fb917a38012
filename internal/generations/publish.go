package generations

import (
	"bytes"
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"math"
	"slices"
	"time"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/sqldb"
	"github.com/aitheater/theater/internal/telemetry"
)

// statsChart is the chart field of the shards of the counts: no chart is named so.
const statsChart = "stats"

// statsShards is into how many blobs the counts are split by film, so that a few new plays do
// not move all of them.
const statsShards = 64

func (k id) isStats() bool { return k.chart == statsChart }

// kind is the blob's kind byte for a key.
func (k id) kind() byte {
	if k.isStats() {
		return kindStats
	}
	return kindList
}

// Publish makes lists the latest of their chart and market if they differ from those, under
// the lease's epoch: written to SQL in one transaction, then to Redis. lists is everything there
// shall be: charts and markets without one are retired. It gives those that are new, with
// their numbers. A list differs when its definition, its order, its ranks, its head or its
// scores do (within HalfLife and 1e-12); it may have to wait for a later call when lists are so
// many and long that they would outgrow the memory set aside for 15 minutes of them.
//
// The leader calls Publish in every cycle, also when nothing changed: that is what keeps this
// process mending Redis. Redis being away is no error, but Publish then waits until what it may
// replace in SQL has stood there for 3 s. Lists must not be changed afterwards.
func (s *Store) Publish(ctx context.Context, lease string, epoch int64, lists []*List) ([]*List, error) {
	ctx, span := telemetry.Start(ctx, "generations.publish")
	defer span.End()
	if err := s.settle(ctx); err != nil {
		return nil, err
	}
	pace := s.interval()
	wanted := make(map[id]*item, len(lists))
	for _, l := range lists {
		if len(l.Entries) > MaxEntries {
			l.Entries = l.Entries[:MaxEntries:MaxEntries]
			l.Head = min(l.Head, MaxEntries)
		}
		wanted[id{l.Chart, l.Market}] = &item{key: id{l.Chart, l.Market}, list: l}
	}
	fresh, err := s.put(ctx, lease, epoch, kindList, wanted, func(old, it *item) bool {
		if old.list.ChartRevisionID != it.list.ChartRevisionID {
			return true
		}
		return time.Since(old.since) >= pace && differs(old.list, it.list)
	})
	out := make([]*List, len(fresh))
	for i, it := range fresh {
		out[i] = it.list
	}
	return out, err
}

// PublishStats makes counts by film name the latest. Like Publish, it is called with all there
// is, and films without counts are gone.
func (s *Store) PublishStats(ctx context.Context, lease string, epoch int64, stats map[string]*pb.FilmStats) error {
	shards := make([][]string, statsShards)
	for film := range stats {
		h := fnv.New32a()
		h.Write([]byte(film))
		n := h.Sum32() % statsShards
		shards[n] = append(shards[n], film)
	}
	wanted := map[id]*item{}
	for n, films := range shards {
		if len(films) == 0 {
			continue
		}
		slices.Sort(films)
		body, err := encodeStats(stats, films)
		if err != nil {
			return err
		}
		it := &item{key: id{statsChart, fmt.Sprintf("%02d", n)}, body: body, stats: make(map[string]*pb.FilmStats, len(films))}
		for _, film := range films {
			it.stats[film] = stats[film]
		}
		wanted[it.key] = it
	}
	_, err := s.put(ctx, lease, epoch, kindStats, wanted, func(old, it *item) bool { return !bytes.Equal(old.body, it.body) })
	return err
}

// settle waits until every list that Redis does not have has stood in SQL for long enough that
// every replica has read it: SQL has nothing but the latest.
func (s *Store) settle(ctx context.Context) error {
	mirrored := s.mirrored(ctx)
	if err := s.loadSQL(ctx); err != nil { // another process may have been the leader a moment ago
		return err
	}
	var youngest time.Time
	s.mu.RLock()
	for _, it := range s.current {
		if it.list != nil && it.number > mirrored && it.since.After(youngest) {
			youngest = it.since
		}
	}
	s.mu.RUnlock()
	if wait := s.every.stand - time.Since(youngest); wait > 0 {
		sleep(ctx, wait)
	}
	return nil
}

// put makes the wanted items the current ones of their kind, those that are new or that due
// wants, in SQL, in memory and in Redis.
func (s *Store) put(ctx context.Context, lease string, epoch int64, kind byte, wanted map[id]*item, due func(old, it *item) bool) ([]*item, error) {
	s.publishing.Lock()
	defer s.publishing.Unlock()
	var (
		fresh, others []*item
		numbers       map[id]int64
		before, last  int64
	)
	err := s.db.Write(ctx, func(tx *sqldb.Tx) (err error) {
		if err = tx.Guard(lease, epoch); err != nil {
			return err
		}
		if before, err = readLast(tx); err != nil {
			return err
		}
		if numbers, err = readNumbers(tx); err != nil {
			return err
		}
		last = before
		known, read, err := s.known(tx, kind, numbers)
		if err != nil {
			return err
		}
		others = read
		fresh, err = s.write(tx, kind, wanted, known, numbers, &last, due)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.led.Store(time.Now().UnixNano())
	s.install(append(others, fresh...), numbers, last, true)
	for _, it := range fresh {
		s.metrics.published.Add(ctx, 1, kindAttribute(it.key))
	}
	if last != before || s.behind.Load() {
		s.mirror(ctx, fresh)
	}
	return fresh, nil
}

// known gives the items of a kind that SQL holds, as numbers says; read are those that this
// process had not seen yet, because another one was the leader.
func (s *Store) known(tx *sqldb.Tx, kind byte, numbers map[id]int64) (known map[id]*item, read []*item, err error) {
	known = map[id]*item{}
	s.mu.RLock()
	for key := range numbers {
		if it := s.current[key]; it != nil && it.number == numbers[key] {
			known[key] = it
		}
	}
	s.mu.RUnlock()
	for key := range numbers {
		if known[key] != nil {
			continue
		}
		it, err := s.readItem(tx, key)
		if err != nil {
			return nil, nil, err
		}
		if it != nil {
			known[key] = it
			read = append(read, it)
		}
	}
	maps.DeleteFunc(known, func(key id, _ *item) bool { return key.kind() != kind })
	return known, read, nil
}

// write stores what is due, deletes what is no longer wanted, and brings numbers and last up
// to date with that.
func (s *Store) write(tx *sqldb.Tx, kind byte, wanted, known map[id]*item, numbers map[id]int64, last *int64, due func(old, it *item) bool) ([]*item, error) {
	var fresh []*item
	var retired []id
	for key, it := range wanted {
		if old := known[key]; old == nil || due(old, it) {
			fresh = append(fresh, it)
		}
	}
	for key := range numbers {
		if key.kind() == kind && wanted[key] == nil {
			retired = append(retired, key)
		}
	}
	if len(fresh)+len(retired) == 0 {
		return nil, nil
	}
	slices.SortFunc(fresh, func(a, b *item) int { return bytes.Compare([]byte(a.key.String()), []byte(b.key.String())) })
	// A retirement alone takes a number too: a newer index has a higher one. A database that lost
	// its last moments must not give out a number again that replicas or Redis still know.
	n := max(len(fresh), 1)
	s.mu.RLock()
	floor := max(s.number, s.seen)
	s.mu.RUnlock()
	var err error
	if *last, err = takeNumbers(tx, n, floor); err != nil {
		return nil, err
	}
	for i, it := range fresh {
		it.number = *last - int64(n-1-i)
		numbers[it.key] = it.number
		if err := writeItem(tx, it.key, it.number, s.blob(it)); err != nil {
			return nil, err
		}
	}
	for _, key := range retired {
		delete(numbers, key)
		if err := deleteItem(tx, key); err != nil {
			return nil, err
		}
	}
	return fresh, nil
}

// blob encodes and seals an item and notes its head.
func (s *Store) blob(it *item) []byte {
	body, count := it.body, len(it.stats)
	if it.list != nil {
		it.list.Number = it.number
		body, count = encodeList(it.list), len(it.list.Entries)
	}
	blob := seal(s.secret, it.key.kind(), it.key, it.number, count, body)
	it.head = bytes.Clone(blob[:len(blob)-len(body)])
	return blob
}

// differs reports whether a new list says something else than the old one, beyond that time
// passed.
func differs(old, l *List) bool {
	if old.ChartRevisionID != l.ChartRevisionID || old.Head != l.Head || len(old.Entries) != len(l.Entries) {
		return true
	}
	factor := 1.0
	if l.HalfLife != 0 {
		factor = math.Exp2(-float64(l.ComputeTime.Sub(old.ComputeTime)) / float64(l.HalfLife))
	}
	for i := range l.Entries {
		a, b := &old.Entries[i], &l.Entries[i]
		if a.Film != b.Film || a.Rank != b.Rank {
			return true
		}
		if want := a.Score * factor; math.Abs(want-b.Score) > 1e-12*max(math.Abs(want), math.Abs(b.Score)) {
			return true
		}
	}
	return false
}
