package listing

import (
	"strings"
	"sync"
	"time"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/shelf"
)

// census counts the films of each genre that an audience can see.
type census struct {
	mu   sync.Mutex
	have map[censusKey]*genreCounts
}

type censusKey struct {
	market   string
	audience pb.Viewer_Audience
	band     pb.Film_AgeBand
}

// genreCounts are the counts by the order of Snapshot.Genres.
type genreCounts struct {
	films    []int32
	editor   int64
	revision int64
	renewal
}

func newCensus() *census { return &census{have: map[censusKey]*genreCounts{}} }

// maxCensus bounds how many audiences are remembered; there are six for each market.
const maxCensus = 2000

func (c *census) count(g *glance) *genreCounts {
	k := censusKey{market: g.viewer.Market, audience: g.viewer.Audience, band: g.viewer.Band}
	c.mu.Lock()
	have := c.have[k]
	c.mu.Unlock()
	if have != nil && have.editor == g.snap.EditorialRevision() && have.good(have.revision == g.snap.Revision()) {
		return have
	}
	begin := time.Now()
	made := &genreCounts{films: countGenres(g), editor: g.snap.EditorialRevision(), revision: g.snap.Revision()}
	made.renewal = renewed(begin)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.have) >= maxCensus {
		clear(c.have)
	}
	c.have[k] = made
	return made
}

func countGenres(g *glance) []int32 {
	g.versions = nil
	genres := g.snap.Genres()
	at := make(map[string]int, len(genres))
	for i, genre := range genres {
		at[strings.TrimPrefix(genre.GetName(), "genres/")] = i
	}
	films := make([]int32, len(genres))
	for slot := range g.snap.Slots() {
		e := g.snap.At(slot)
		if e == nil || g.gate(e) == shelf.Hidden {
			continue
		}
		for _, slug := range e.Genres() {
			if i, ok := at[slug]; ok {
				films[i]++
			}
		}
	}
	return films
}

// renewal says when something computed over the whole catalogue is computed again: when the
// catalogue changed or a second has passed, but so that no more than a twentieth of one core
// goes into it, and at the latest when it is longest old.
type renewal struct {
	begun time.Time
	cost  time.Duration
}

const (
	renewalShare = 20
	renewalAge   = time.Second
)

func renewed(begin time.Time) renewal { return renewal{begun: begin, cost: time.Since(begin)} }

// good reports whether it may still be used; same says that the catalogue has not changed.
func (r renewal) good(same bool) bool {
	age := time.Since(r.begun)
	return same && age < renewalAge || age < renewalShare*r.cost
}
