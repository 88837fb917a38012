package rank

import (
	"math"
	"slices"
	"time"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/generations"
	"github.com/aitheater/theater/internal/shelf"
)

const (
	// head is how many films an adult can see in a list.
	head = 1000
	// hiddenLimit is how many films nobody can see now stand between them, so that they are
	// back at once when they are reinstated.
	hiddenLimit = 1000
	// entriesInAll is how many entries all lists together may have for a list to hold every
	// film of its chart: 5 MiB in each replica, which is replaced as often as the leader likes.
	entriesInAll = 1 << 17
)

// bands are the ages of children, each of which may see what the younger may.
var bands = [...]pb.Film_AgeBand{pb.Film_ALL, pb.Film_AGE_3, pb.Film_AGE_8, pb.Film_AGE_12, pb.Film_AGE_16}

// picker sorts candidates and picks the entries of a list.
type picker struct {
	board *board
	films []string
	snap  *shelf.Snapshot
	now   time.Time

	audience *audience // of the market's list
	verdicts []uint8   // by film: see look
	// room is up to how many entries a list holds every film, whoever may see it.
	room int

	candidates []candidate
	taken      []uint32 // the films of the last list's entries
	keys, swap []sortKey
	far        bool // some score is too far from the best for its key to tell
}

func (p *picker) begin(b *board, s *state, snap *shelf.Snapshot) {
	p.board, p.films, p.snap, p.now = b, s.films, snap, time.UnixMicro(s.at).UTC()
}

// enter begins the lists of a market, which these markets look at.
func (p *picker) enter(markets []string) {
	if len(p.verdicts) < len(p.films) {
		p.verdicts = make([]uint8, len(p.films))
	}
	clear(p.verdicts)
	p.audience = newAudience(markets)
}

// audience is who looks at a list: an adult and a child of each band in each market that shares
// it.
type audience struct {
	adults   []*shelf.Viewer
	children [len(bands)][]*shelf.Viewer
}

func newAudience(markets []string) *audience {
	a := &audience{}
	for _, m := range markets {
		a.adults = append(a.adults, shelf.NewViewer(&pb.Viewer{Market: m, Audience: pb.Viewer_ADULT}))
		for i, band := range bands {
			a.children[i] = append(a.children[i], shelf.NewViewer(&pb.Viewer{Market: m, Audience: pb.Viewer_KIDS, AgeBand: band}))
		}
	}
	return a
}

const (
	looked   = 1 << 7
	visible  = 1 << 6
	bandMask = 7 // 1 + the youngest band that may see the film; 0 = none
)

// look asks the gate about a film, once for all lists of a market.
func (p *picker) look(film uint32) uint8 {
	v := p.verdicts[film]
	if v == 0 {
		v = p.judge(p.audience, film)
		p.verdicts[film] = v
	}
	return v
}

// judge asks the gate whether an audience may see a film: any of its adults, and children from
// which band on.
func (p *picker) judge(a *audience, film uint32) uint8 {
	f, v := &p.board.facts[film], uint8(looked)
	if p.pass(a.adults, f.entry) {
		v |= visible
	}
	if v&visible != 0 && f.child && p.pass(a.children[len(bands)-1], f.entry) {
		youngest := len(bands) - 1
		for youngest > 0 && p.pass(a.children[youngest-1], f.entry) {
			youngest--
		}
		v |= uint8(youngest + 1)
	}
	return v
}

func (p *picker) pass(viewers []*shelf.Viewer, e *shelf.Entry) bool {
	for _, v := range viewers {
		if verdict, _ := p.snap.Gate(v, e, p.now); verdict != shelf.Hidden {
			return true
		}
	}
	return false
}

// quota counts what a list still lacks. A film's mask and the quota's have a bit for each
// content type, each band of children, and each genre modulo genreBits; films that have no bit
// of what is lacking are passed over at the cost of one and.
type quota struct {
	genres   []int
	contents [8]int
	bands    [len(bands)]int
	mask     uint64
}

const (
	contentBit = 64 - 8
	bandBit    = contentBit - 5 // len(bands)
	genreBits  = bandBit
)

// mask gives a film's bits: of children's bands, those its age lets in.
func (f *fact) mask() (m uint64) {
	m = 1 << (contentBit + f.content&7)
	for i, band := range bands {
		if f.child && f.entry.AgeBand <= band {
			m |= 1 << (bandBit + i)
		}
	}
	for _, g := range f.genres {
		m |= 1 << (g % genreBits)
	}
	return m
}

func newQuota(genres int) *quota {
	q := &quota{genres: make([]int, genres), mask: math.MaxUint64}
	for i := range q.genres {
		q.genres[i] = generations.Fill
	}
	for i := range q.contents {
		q.contents[i] = generations.Fill
	}
	for i := range q.bands {
		q.bands[i] = generations.Fill
	}
	return q
}

// wants reports whether the list lacks films like this one; youngest is the youngest band that
// may see it, counted from 1, 0 for none.
func (q *quota) wants(f *fact, youngest int) bool {
	if q.contents[f.content&7] > 0 || youngest > 0 && slices.Max(q.bands[youngest-1:]) > 0 {
		return true
	}
	for _, g := range f.genres {
		if q.genres[g] > 0 {
			return true
		}
	}
	return false
}

// take counts a film that is in the list.
func (q *quota) take(f *fact, youngest int) {
	if q.contents[f.content&7]--; q.contents[f.content&7] == 0 {
		q.mask &^= 1 << (contentBit + f.content&7)
	}
	for _, g := range f.genres {
		if q.genres[g]--; q.genres[g] == 0 {
			q.dry(g)
		}
	}
	for i := max(youngest-1, 0); youngest > 0 && i < len(q.bands); i++ {
		if q.bands[i]--; q.bands[i] == 0 {
			q.mask &^= 1 << (bandBit + i)
		}
	}
}

// dry clears a genre's bit if no other genre of the bit lacks films.
func (q *quota) dry(g uint16) {
	for i := int(g % genreBits); i < len(q.genres); i += genreBits {
		if q.genres[i] > 0 {
			return
		}
	}
	q.mask &^= 1 << (g % genreBits)
}

// take sorts the candidates and gives the list's entries, and how many of them an unfiltered
// list may show. Scores are multiplied by scale.
func (p *picker) take(scale score) (entries []generations.Entry, shown int) {
	p.taken = p.taken[:0]
	l := &picked{picker: p, quota: newQuota(len(p.board.genres)), scale: scale}
	p.gather()
	best := p.cut()
	if !l.walk(p.sorted(0, best, scale)) {
		return l.entries, l.shown
	}
	// Of the rest, only what the list still lacks is worth sorting.
	end := best
	for i := best; i < len(p.keys); i++ {
		if l.whole() || p.board.masks[p.keys[i].place]&l.mask != 0 {
			p.keys[end] = p.keys[i]
			end++
		}
	}
	l.walk(p.sorted(best, end, scale))
	return l.entries, l.shown
}

// picked is a list that is being filled.
type picked struct {
	*picker
	*quota
	scale   score
	entries []generations.Entry
	shown   int
	rank    int32
	hidden  int
}

// whole reports whether the list takes every film that comes next: those have a rank.
func (l *picked) whole() bool { return l.rank < head || len(l.entries) < l.room }

// walk takes from the next keys, best first, what belongs in the list. It reports whether the
// list has room for more.
func (l *picked) walk(keys []sortKey) bool {
	for i := range keys {
		inHead, whole := l.rank < head, l.whole()
		if !whole && l.board.masks[keys[i].place]&l.mask == 0 {
			continue
		}
		film := l.candidates[keys[i].candidate].film
		f, v := &l.board.facts[film], l.look(film)
		youngest := int(v & bandMask)
		e := generations.Entry{Film: l.films[film]}
		switch {
		case v&visible == 0:
			if !whole || l.hidden >= hiddenLimit {
				continue
			}
			l.hidden++
		case whole:
			l.rank++
			e.Rank = l.rank
			l.quota.take(f, youngest)
		case !l.wants(f, youngest):
			continue
		default:
			l.quota.take(f, youngest)
		}
		e.Score = l.final(keys[i].candidate, l.scale)
		l.entries = append(l.entries, e)
		l.taken = append(l.taken, film)
		if inHead {
			l.shown = len(l.entries)
		}
		if len(l.entries) == generations.MaxEntries {
			return false
		}
	}
	return true
}

// final is a candidate's score at the state's time. What no double holds with all its digits
// is 0, so that it does not seem to change when time passes.
func (p *picker) final(candidate uint32, scale score) float64 {
	x := p.scaled(candidate, scale).float()
	if x < 0x1p-1022 {
		return 0
	}
	return x
}

func (p *picker) scaled(candidate uint32, scale score) score {
	x := p.candidates[candidate].score
	return score{x.m * scale.m, x.e + scale.e}.normal()
}
