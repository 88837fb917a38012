package signals

import (
	"fmt"
	"math"
	"slices"
	"time"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/ledger"
)

const (
	// maxFuture is how far ahead a player's clock may be.
	maxFuture = 5 * time.Minute
	// maxAge is how late RecordEvents still takes an event.
	maxAge = 48 * time.Hour
	// keyLife is how long after its beginning a day's key for children lives.
	keyLife = 72 * time.Hour
	// maxKey is the longest viewer key in bytes.
	maxKey = 512
	// maxValue keeps every sum of watched seconds finite.
	maxValue = 1e9
)

// door is what decides about an event beside the event itself.
type door struct {
	caller *auth.Caller
	now    time.Time
	// anyAge is set for imports.
	anyAge bool
	// known reports whether a film exists and is not deleted.
	known func(film string) bool
}

// admit checks an event and gives what of it is stored, but for the viewer's hash. reason is
// empty, or says which field breaks which rule.
func (d *door) admit(e *pb.Event) (out ledger.Event, reason string) {
	if reason = d.admitWho(e, &out); reason != "" {
		return out, reason
	}
	if reason = admitWhat(e, &out); reason != "" {
		return out, reason
	}
	return out, d.admitWhen(e, &out)
}

func (d *door) admitWho(e *pb.Event, out *ledger.Event) string {
	switch e.GetAudience() {
	case pb.Viewer_ADULT:
		out.Audience = pb.Viewer_ADULT
	case pb.Viewer_AUDIENCE_UNSPECIFIED, pb.Viewer_KIDS:
		out.Audience = pb.Viewer_KIDS
	default:
		return "audience: value must be one of the defined enum values"
	}
	if d.caller.Audience == pb.Viewer_KIDS {
		out.Audience = pb.Viewer_KIDS
	}
	if n := len(e.GetViewerKey()); n == 0 || n > maxKey {
		return fmt.Sprintf("viewer_key: must have 1 to %d bytes", maxKey)
	}
	out.Market = e.GetMarket()
	if !isMarket(out.Market) {
		return "market: must be an ISO 3166-1 alpha-2 code in capital letters"
	}
	if len(d.caller.Markets) > 0 && !slices.Contains(d.caller.Markets, out.Market) {
		return "market: not one of the caller's"
	}
	out.Film = e.GetFilm()
	if !d.known(out.Film) {
		return "film: there is no such film"
	}
	return ""
}

func admitWhat(e *pb.Event, out *ledger.Event) string {
	out.Kind = e.GetKind()
	value := e.GetValue()
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return "value: must be a finite number"
	}
	switch out.Kind {
	case pb.Event_PLAY:
		if value < 0 || value > maxValue {
			return "value: watched seconds must not be negative, nor more than 1e9"
		}
		out.Value = value
	case pb.Event_RATE:
		if out.Audience != pb.Viewer_ADULT {
			return "audience: only an ADULT can rate"
		}
		if value < 0.5 || value > 5 {
			return "value: a rating must be from 0.5 to 5"
		}
		out.Value = value
	case pb.Event_COMPLETE, pb.Event_LIKE, pb.Event_UNLIKE, pb.Event_SHARE: // without a value
	case pb.Event_IMPRESSION:
		return "kind: IMPRESSION is not enabled"
	case pb.Event_KIND_UNSPECIFIED:
		return "kind: required"
	default:
		return "kind: value must be one of the defined enum values"
	}
	return ""
}

func (d *door) admitWhen(e *pb.Event, out *ledger.Event) string {
	if e.GetOccurTime() == nil {
		return "occur_time: required"
	}
	if e.GetOccurTime().CheckValid() != nil {
		return "occur_time: must be a time from year 1 to 9999"
	}
	occur := e.GetOccurTime().AsTime()
	if occur.After(d.now.Add(maxFuture)) {
		return "occur_time: more than 5 minutes in the future"
	}
	if !d.anyAge && occur.Before(d.now.Add(-maxAge)) {
		return "occur_time: older than 48 hours"
	}
	out.Occur = occur.UnixMicro()
	out.Day = ledger.DayOf(out.Occur)
	if out.Audience == pb.Viewer_KIDS && !keyLives(out.Day, d.now) {
		return keyGone
	}
	return ""
}

// keyGone refuses a child's event whose day has lost its key.
const keyGone = "occur_time: children's events are taken until 72 hours after the day (UTC) began"

// dayBegan is when a day in days since 1970 began.
func dayBegan(day int32) time.Time { return time.Unix(int64(day)*86400, 0).UTC() }

// keyLives reports whether a day's key for children may still be used.
func keyLives(day int32, now time.Time) bool { return now.Before(dayBegan(day).Add(keyLife)) }

func isMarket(m string) bool {
	return len(m) == 2 && m[0] >= 'A' && m[0] <= 'Z' && m[1] >= 'A' && m[1] <= 'Z'
}
