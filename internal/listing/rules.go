package listing

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/shelf"
)

// rules remembers what the rules of sections select.
type rules struct {
	byText *otter.Cache[ruleText, *rule]
	// lists are the recent lists by id, so that a chain goes on where it began.
	lists *otter.Cache[int64, *ruleList]
}

type ruleText struct{ filter, order string }

// rule is a compiled source and what it selected last.
type rule struct {
	filter *shelf.Filter
	order  *shelf.Order
	mu     sync.Mutex
	last   atomic.Pointer[selection]
}

// selection is a list, and how long it is good.
type selection struct {
	list     *ruleList
	revision int64
	renewal
}

// ruleList is what a rule selected. It never changes.
type ruleList struct {
	// id is random: the same slots in another process are other films.
	id    int64
	slots []uint32
}

// ruleUse says that an answer is right only while this is what the rule selects.
type ruleUse struct {
	rule *rule
	id   int64
}

const (
	maxRules         = 2000
	maxRuleListBytes = 64 << 20
)

func newRules() *rules {
	return &rules{
		byText: otter.Must(&otter.Options[ruleText, *rule]{MaximumSize: maxRules}),
		lists: otter.Must(&otter.Options[int64, *ruleList]{
			MaximumWeight: maxRuleListBytes,
			Weigher:       func(_ int64, l *ruleList) uint32 { return uint32(64 + 4*len(l.slots)) },
		}),
	}
}

// compile gives the rule of a source.
func (r *rules) compile(src *pb.RuleSource) (*rule, error) {
	text := ruleText{filter: src.GetFilter(), order: src.GetOrderBy()}
	if have, ok := r.byText.GetIfPresent(text); ok {
		return have, nil
	}
	filter, err := shelf.CompileFilter(text.filter)
	if err != nil {
		return nil, err
	}
	order, err := shelf.CompileOrder(text.order)
	if err != nil {
		return nil, err
	}
	have, _ := r.byText.SetIfAbsent(text, &rule{filter: filter, order: order})
	return have, nil
}

// list gives what the rule selects, perhaps a moment ago: whoever shows a film of it asks the
// filter and the gate again. While one caller selects anew, the others go on with the last.
func (r *rules) list(ru *rule, snap *shelf.Snapshot, now time.Time) *ruleList {
	last := ru.last.Load()
	if last != nil && last.good(last.revision == snap.Revision()) {
		return last.list
	}
	if !ru.mu.TryLock() {
		if last != nil {
			return last.list
		}
		ru.mu.Lock()
	}
	defer ru.mu.Unlock()
	if other := ru.last.Load(); other != last {
		return other.list
	}
	begin := time.Now()
	slots := snap.Select(ru.filter, ru.order, now, false)
	next := &selection{revision: snap.Revision()}
	if last != nil && slices.Equal(last.list.slots, slots) {
		next.list = last.list
	} else {
		next.list = &ruleList{id: rand.Int64(), slots: slots}
		r.lists.Set(next.list.id, next.list)
	}
	next.renewal = renewed(begin)
	ru.last.Store(next)
	return next.list
}
