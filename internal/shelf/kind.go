package shelf

import (
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
)

// message is a resource other than a film.
type message interface {
	proto.Message
	GetName() string
}

// kind holds all resources of one kind. It never changes.
type kind[M message] struct {
	byName map[string]M
	sorted []M
}

// with gives the kind after some changes; a name without a message is removed.
func (k kind[M]) with(changed map[string]*M) kind[M] {
	if len(changed) == 0 {
		return k
	}
	next := kind[M]{byName: make(map[string]M, len(k.byName)+len(changed))}
	maps.Copy(next.byName, k.byName)
	for name, m := range changed {
		if m == nil {
			delete(next.byName, name)
		} else {
			next.byName[name] = *m
		}
	}
	next.sorted = slices.SortedFunc(maps.Values(next.byName), func(a, b M) int { return strings.Compare(a.GetName(), b.GetName()) })
	return next
}
