package shelf

import (
	"time"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/bcp47"
	"github.com/aitheater/theater/internal/disclosure"
)

// Viewer is for whom a page is made, made ready for the gate.
type Viewer struct {
	Market    string
	Audience  pb.Viewer_Audience // ADULT or KIDS
	Band      pb.Film_AgeBand    // KIDS: ALL to AGE_16
	Languages []string           // best first

	wishes []*bcp47.Tag // Languages, parsed
}

// NewViewer makes a viewer of a narrowed message (auth.Narrow).
func NewViewer(v *pb.Viewer) *Viewer {
	out := &Viewer{Market: v.GetMarket(), Audience: v.GetAudience(), Band: v.GetAgeBand(), Languages: v.GetLanguages(), wishes: bcp47.ParseAll(v.GetLanguages())}
	if out.Audience != pb.Viewer_ADULT {
		out.Audience = pb.Viewer_KIDS
	}
	out.Band = out.band()
	return out
}

// band is the viewer's, also of a viewer that NewViewer did not make: an unset one is ALL.
func (v *Viewer) band() pb.Film_AgeBand {
	if v.Band == pb.Film_AGE_BAND_UNSPECIFIED {
		return pb.Film_ALL
	}
	return v.Band
}

// wants are the viewer's languages, also of a viewer that NewViewer did not make.
func (v *Viewer) wants() []*bcp47.Tag {
	if v.wishes == nil {
		return bcp47.ParseAll(v.Languages)
	}
	return v.wishes
}

var noticeLanguages = bcp47.ParseAll(disclosure.Languages)

// Verdict is what the gate says of a film.
type Verdict uint8

// The verdicts. The zero value hides.
const (
	Hidden  Verdict = iota
	Coming          // announced, not yet playable
	Playing         // playable
)

// leaving is how long before its end a film's card says so.
const leaving = 30 * 24 * time.Hour / time.Microsecond

// Gate says whether the viewer may see the film at a time, and until when at the most the
// verdict and the card hold if the film does not change (Forever when nothing is to come).
// It does not allocate.
func (s *Snapshot) Gate(v *Viewer, e *Entry, now time.Time) (verdict Verdict, until time.Time) {
	if e == nil || !s.open(e) || !e.cleared(v) {
		return Hidden, Forever
	}
	m := countryOf(v.Market)
	if m == 0 || e.takenDownIn(m) {
		return Hidden, Forever
	}
	at := now.UnixMicro()
	banned, edge := e.bannedIn(m, at)
	for w := range e.windows {
		if w.end <= at || !w.markets.has(m) {
			continue
		}
		switch {
		case w.start <= at:
			verdict = Playing
		case w.announce <= at && w.start < w.end:
			verdict = max(verdict, Coming)
			edge = min(edge, w.start)
		case w.start < w.end:
			edge = min(edge, w.start, w.announce)
		}
		if w.end != never {
			edge = min(edge, w.end)
			if notice := w.end - int64(leaving); notice > at {
				edge = min(edge, notice)
			}
		}
	}
	if banned {
		verdict = Hidden
	}
	if verdict != Hidden {
		edge = min(edge, disclosure.NextChange(at))
	}
	if edge == never {
		return verdict, Forever
	}
	return verdict, time.UnixMicro(edge)
}

// open reports whether the film may be shown to anyone at all.
func (s *Snapshot) open(e *Entry) bool {
	return e.State == pb.Film_PUBLISHED && !e.Deleted && e.disclosed &&
		// Withdrawals up to the applied revision are in the entries.
		(s.shelf.withdrawn.Load() <= s.applied || e.Revision >= e.cell.closed.Load())
}

// cleared reports whether the film's ages suit the viewer. ADULT is not filtered by age or
// rating; whatever is not ADULT is a child.
func (e *Entry) cleared(v *Viewer) bool {
	if v.Audience == pb.Viewer_ADULT {
		return true
	}
	band := v.band()
	return e.Cleared(band) && !e.barred.above(countryOf(v.Market), band)
}

// Cleared reports whether the film's age band and review let children of a band in, from ALL to
// AGE_16; the ratings of their market may still not. There are no children of other bands.
func (e *Entry) Cleared(band pb.Film_AgeBand) bool {
	return band >= pb.Film_ALL && band <= pb.Film_AGE_16 && e.AgeBand >= pb.Film_ALL && e.AgeBand <= band && e.review >= pb.Film_ALL && e.review <= band
}

func (e *Entry) takenDownIn(m country) bool {
	for _, t := range e.taken {
		if t == m {
			return true
		}
	}
	return false
}

// bannedIn reports whether the showing rules of the market close it now, and when next they
// begin or end to.
func (e *Entry) bannedIn(m country, at int64) (banned bool, edge int64) {
	edge = never
	for i := range e.bans {
		b := &e.bans[i]
		if b.market != m || b.to <= at {
			continue
		}
		if b.from <= at {
			banned = true
			edge = min(edge, b.to)
		} else {
			edge = min(edge, b.from)
		}
	}
	return banned, edge
}
