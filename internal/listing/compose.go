package listing

import (
	"slices"
	"time"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/generations"
	"github.com/aitheater/theater/internal/shelf"
)

// composer makes sections for one viewer at one time. It is the same for the page that is
// served and for the page that is previewed; what differs is handed in.
type composer struct {
	g        *glance
	rankings *rankings
	// list gives the list a chart section shows, nil for none.
	list func(chart string, at cursor, first bool) (*generations.List, error)
	// rule gives what a rule section selects.
	rule func(src *pb.RuleSource, at cursor, first bool) (*rule, *ruleList, error)
	// minForm gives the form a chart asks for.
	minForm func(chart string) pb.Film_Form
	// taken are the films the page has already; nil where a film may stand in two sections.
	taken map[uint32]bool

	origins []origin
	rules   []ruleUse
	dropped []*pb.DroppedPin
}

// row is a section with the films of one page of it.
type row struct {
	section *pb.Section
	title   string
	picks   []pick
	list    *generations.List
	// next is where the section goes on, if more.
	next cursor
	more bool
}

// eligible reports whether the section is for this viewer and this time.
func (g *glance) eligible(s *pb.Section) bool {
	t, v := s.GetTargeting(), g.viewer
	return g.within(s.GetStartTime(), s.GetEndTime(), g.now) &&
		(len(t.GetMarkets()) == 0 || slices.Contains(t.GetMarkets(), v.Market)) &&
		(len(t.GetAudiences()) == 0 || slices.Contains(t.GetAudiences(), v.Audience)) &&
		(len(t.GetAgeBands()) == 0 || v.Audience == pb.Viewer_ADULT || slices.Contains(t.GetAgeBands(), v.Band))
}

// row makes one page of n films of a section, going on from at.
func (c *composer) row(sec *pb.Section, at cursor, first bool, n int) (*row, error) {
	if first {
		at.began = c.g.now.UnixMicro()
	}
	w, err := c.source(sec, &at, first)
	if err != nil {
		return nil, err
	}
	out := &row{section: sec, title: localized(sec.GetTitle(), c.g.viewer.Languages, "en"), list: w.list}
	pins := c.pins(sec, w, micros(at.began))
	pins = slices.DeleteFunc(pins, func(p pin) bool { return p.place <= max(at.given, at.pinned) })
	limit := uint32(sec.GetLimit())
	full := w.sieve.plain(c.g.viewer)
	for len(out.picks) < n && (limit == 0 || at.given < limit) {
		p, pinned, ok := choose(w, &pins, at.given+1)
		if !ok {
			break
		}
		at.given++
		if pinned > 0 {
			at.pinned = pinned
		} else {
			at.pos, at.last = uint32(w.pos), p.film.Name
		}
		if w.list != nil {
			p.rank, p.full = int32(at.given), full
		}
		if c.taken != nil {
			c.taken[p.film.Slot] = true
		}
		out.picks = append(out.picks, p)
	}
	if limit == 0 || at.given < limit {
		_, _, out.more = choose(w, &pins, at.given+1)
	}
	out.next = at
	return out, nil
}

// choose gives the film for a place: the pin that holds it, else the next of the source, else,
// when the source is at its end, the next pin of a later place.
func choose(w *walk, pins *[]pin, place uint32) (p pick, pinned uint32, ok bool) {
	if len(*pins) > 0 && (*pins)[0].place <= place {
		return take(pins)
	}
	if p, ok = w.next(); ok {
		return p, 0, true
	}
	if len(*pins) > 0 {
		return take(pins)
	}
	return pick{}, 0, false
}

func take(pins *[]pin) (pick, uint32, bool) {
	p := (*pins)[0]
	*pins = (*pins)[1:]
	return p.pick, p.place, true
}

// source begins the walk down a section's own films.
func (c *composer) source(sec *pb.Section, at *cursor, first bool) (*walk, error) {
	f := sieve{minForm: pb.Film_FEATURE, skip: map[uint32]bool{}, taken: c.taken}
	if sec.GetMinForm() == pb.Film_SHORT {
		f.minForm = pb.Film_FORM_UNSPECIFIED
	}
	for _, name := range sec.GetHiddenFilms() {
		if slot, ok := c.g.slot(name); ok {
			f.skip[slot] = true
		}
	}
	switch src := sec.GetSource().(type) {
	case *pb.Section_Chart:
		return c.chartSource(src.Chart, f, at, first)
	case *pb.Section_Rule:
		ru, list, err := c.rule(src.Rule, *at, first)
		if err != nil {
			return nil, err
		}
		if first {
			c.rules = append(c.rules, ruleUse{rule: ru, id: list.id})
		}
		f.match = ru.filter
		return c.slotSource(list.slots, list.id, f, at, first), nil
	default:
		films := sec.GetManual().GetFilms()
		slots := make([]uint32, len(films))
		for i, name := range films {
			slots[i] = noSlot
			if slot, ok := c.g.slot(name); ok {
				slots[i] = slot
			}
		}
		return c.slotSource(slots, sec.GetRevision(), f, at, first), nil
	}
}

func (c *composer) chartSource(src *pb.ChartSource, f sieve, at *cursor, first bool) (*walk, error) {
	list, err := c.list(src.GetChart(), *at, first)
	if err != nil {
		return nil, err
	}
	c.origins = append(c.origins, originOf(src.GetChart(), list, first))
	f.genre = src.GetGenre()
	if c.minForm(src.GetChart()) == pb.Film_FEATURE {
		f.minForm = pb.Film_FEATURE
	}
	if list != nil {
		at.number = list.Number
	}
	return c.rankings.walk(c.g, list, f, int(at.pos)), nil
}

// slotSource walks a list of films that has an id instead of a generation. If it is not the one
// the chain began with, the chain goes on behind the last film it gave.
func (c *composer) slotSource(slots []uint32, id int64, f sieve, at *cursor, first bool) *walk {
	if !first && at.number != id && at.last != "" {
		if slot, ok := c.g.snap.Slot(at.last); ok {
			if i := slices.Index(slots, slot); i >= 0 {
				at.pos = uint32(i + 1)
			}
		}
	}
	at.number = id
	return &walk{g: c.g, slots: slots, sieve: f, pos: int(at.pos), end: len(slots)}
}

// pin is a film that holds a place.
type pin struct {
	pick
	place uint32
}

// Reasons why a pin is not shown.
const (
	pinMissing   = "film-missing"
	pinHidden    = "hidden"
	pinShort     = "short"
	pinInvisible = "not-visible"
	pinPastLimit = "past-limit"
	pinDuplicate = "duplicate"
	pinCollision = "collision"
)

// pins gives the pins to be shown of those in force at a time, by place, and takes the films of
// all that own a place out of the walk.
//
// Who owns a place depends on the section and the time alone, not on what this viewer may see
// at the moment: otherwise a film taken down in the middle of a chain would hand its place,
// already passed, to a film that then stands nowhere.
func (c *composer) pins(sec *pb.Section, w *walk, at time.Time) []pin {
	var out []pin
	owned, owners := map[int32]bool{}, map[string]bool{}
	for _, p := range sec.GetPins() {
		if !c.g.within(p.GetStartTime(), p.GetEndTime(), at) {
			continue
		}
		reason := ""
		switch {
		case slices.Contains(sec.GetHiddenFilms(), p.GetFilm()):
			reason = pinHidden
		case sec.GetLimit() > 0 && p.GetPosition() > sec.GetLimit():
			reason = pinPastLimit
		case owners[p.GetFilm()]:
			reason = pinDuplicate
		case owned[p.GetPosition()]:
			reason = pinCollision
		default:
			owned[p.GetPosition()], owners[p.GetFilm()] = true, true
			var shown pin
			if shown, reason = c.pin(sec, w, p); reason == "" {
				out = append(out, shown)
			}
		}
		if reason != "" {
			c.dropped = append(c.dropped, &pb.DroppedPin{Section: sec.GetName(), Film: p.GetFilm(), Position: p.GetPosition(), Reason: reason})
		}
	}
	slices.SortFunc(out, func(a, b pin) int { return int(a.place) - int(b.place) })
	return out
}

// pin takes the film of a pin that owns its place out of the walk, and gives it, or the reason
// why it is not shown.
func (c *composer) pin(sec *pb.Section, w *walk, p *pb.Pin) (pin, string) {
	e, verdict := c.g.named(p.GetFilm())
	if e == nil || e.Deleted {
		return pin{}, pinMissing
	}
	w.sieve.skip[e.Slot] = true
	switch {
	case sec.GetMinForm() != pb.Film_SHORT && e.Form != pb.Film_FEATURE:
		return pin{}, pinShort
	case verdict == shelf.Hidden:
		return pin{}, pinInvisible
	case c.taken[e.Slot]:
		return pin{}, pinDuplicate
	}
	return pin{pick: pick{film: e, verdict: verdict, entry: w.entry(slices.Index(w.slots, e.Slot))}, place: uint32(p.GetPosition())}, ""
}
