package generations

import (
	"context"
	"maps"
	"slices"
	"time"

	pb "github.com/aitheater/theater/api/theater/v1"
)

// entryBytes is what an entry takes in memory beside its shared name, and about what it takes
// in Redis with its name.
const entryBytes = 40

func (i *item) bytes() int {
	if i.list == nil {
		return len(i.body)
	}
	return 256 + entryBytes*len(i.list.Entries)
}

// install makes items the current ones of their keys, unless what is there is as new, and with
// whole, retires every key that is not in numbers. number is the index's; an older one than is
// installed changes nothing.
func (s *Store) install(items []*item, numbers map[id]int64, number int64, whole bool) {
	now := time.Now()
	s.mu.Lock()
	changed, counted := false, false
	for _, it := range items {
		old := s.current[it.key]
		if old != nil && old.number >= it.number {
			continue
		}
		if had := s.kept[it.number]; had != nil { // a request was here before
			it = had
			it.retired = time.Time{}
		}
		s.retire(old, now)
		if it.since.IsZero() {
			it.since = now
		}
		s.current[it.key] = it
		if it.list != nil {
			s.keep(it)
			changed = true
		} else {
			counted = true
		}
	}
	if whole && number > s.number {
		for key, it := range s.current {
			if numbers[key] == 0 && it.number <= number {
				s.retire(it, now)
				delete(s.current, key)
				changed, counted = changed || it.list != nil, counted || it.list == nil
			}
		}
		s.number = number
	}
	s.trim(now)
	if changed {
		s.swap()
	}
	s.mu.Unlock()
	if counted {
		s.tellStats()
	}
}

// tellStats hands the counts over, one call at a time, so that an older set never follows a newer.
func (s *Store) tellStats() {
	s.telling.Lock()
	defer s.telling.Unlock()
	s.mu.RLock()
	all := map[string]*pb.FilmStats{}
	for _, it := range s.current {
		maps.Copy(all, it.stats)
	}
	s.mu.RUnlock()
	s.onStats(all)
}

// keep puts a list where At finds it.
func (s *Store) keep(it *item) {
	if s.kept[it.number] == nil {
		s.kept[it.number] = it
		s.keptBytes += it.bytes()
	}
	delete(s.gone, it.number)
}

func (s *Store) retire(it *item, now time.Time) {
	if it != nil && it.retired.IsZero() {
		it.retired = now
	}
}

// trim drops lists that were replaced keepFor ago, and the oldest before that when they are
// more than the budget, which only a sudden growth of all lists can bring about.
func (s *Store) trim(now time.Time) {
	var retired []*item
	for number, it := range s.kept {
		switch {
		case it.retired.IsZero():
		case now.Sub(it.retired) > keepFor:
			delete(s.kept, number)
			s.keptBytes -= it.bytes()
		default:
			retired = append(retired, it)
		}
	}
	if s.keptBytes > budget+budget/4 {
		slices.SortFunc(retired, func(a, b *item) int { return a.retired.Compare(b.retired) })
		for _, it := range retired {
			if s.keptBytes <= budget {
				break
			}
			delete(s.kept, it.number)
			s.keptBytes -= it.bytes()
			s.metrics.dropped.Add(context.Background(), 1)
		}
	}
	maps.DeleteFunc(s.gone, func(_ int64, at time.Time) bool { return now.Sub(at) >= goneFor })
}

// swap shows the current lists to Latest.
func (s *Store) swap() {
	lists := make(map[id]*List, len(s.current))
	for key, it := range s.current {
		if it.list != nil {
			lists[key] = it.list
		}
	}
	s.latest.Store(&lists)
}

// intern gives a film's name, shared by all lists. Its table is begun anew when it holds more
// names than any catalogue has films.
func (s *Store) intern(id []byte) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if name, ok := s.names[string(id)]; ok {
		return name
	}
	if len(s.names) > 4<<20 {
		clear(s.names)
	}
	name := filmPrefix + string(id)
	s.names[name[len(filmPrefix):]] = name
	return name
}

// interval is how long a list must stand before it is replaced, so that all lists of the last
// keepFor fit the budget.
func (s *Store) interval() time.Duration {
	s.mu.RLock()
	defer s.mu.RUnlock()
	bytes := 0
	for _, it := range s.current {
		if it.list != nil {
			bytes += it.bytes()
		}
	}
	pace := time.Duration(float64(keepFor) * float64(bytes) / budget)
	if pace < time.Second {
		return 0 // no leader is so quick
	}
	return pace
}
