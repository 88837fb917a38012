package shelf

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aitheater/theater/internal/changes"
)

// With gives the snapshot as it would be if resources were changed, a nil Body meaning gone,
// for a look at what is not so yet. Nothing becomes visible to others. Films the shelf has never
// had are left out, as are genres, which stand in cards that are kept. A gate that is closed
// ahead of the snapshot stays closed.
func (s *Snapshot) With(changed []changes.Resource) (*Snapshot, error) {
	next := *s
	next.chunks = slices.Clone(s.chunks)
	own := map[uint32]bool{} // chunks copied
	var rest editorial
	for _, r := range changed {
		switch prefix, _, _ := strings.Cut(r.Name, "/"); prefix {
		case "genres":
		case "films":
			slot, ok := s.Slot(r.Name)
			if !ok {
				continue
			}
			var e *Entry
			if r.Body != nil {
				r.Revision = s.revision
				var err error
				if e, err = newEntry(slot, s.shelf.index.cell(slot), r); err != nil {
					return nil, fmt.Errorf("shelf: overlay: %w", err)
				}
			}
			at := slot / chunk
			if !own[at] {
				copied := *next.chunks[at]
				next.chunks[at], own[at] = &copied, true
			}
			next.chunks[at][slot%chunk] = e
		default:
			if err := rest.add(r); err != nil {
				return nil, fmt.Errorf("shelf: overlay: %w", err)
			}
		}
	}
	rest.apply(&next)
	return &next, nil
}
