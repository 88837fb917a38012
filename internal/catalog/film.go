package catalog

import (
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/disclosure"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/resource"
	"github.com/aitheater/theater/internal/texts"
)

// FeatureFloor is the running time from which a film is a feature; 15:00 exactly is one.
const FeatureFloor = 15 * time.Minute

// derive fills in what follows from the editable fields.
func derive(f *pb.Film) {
	switch {
	case f.GetRuntime() == nil:
		f.Form = pb.Film_FORM_UNSPECIFIED
	case f.GetRuntime().GetSeconds() >= int64(FeatureFloor/time.Second):
		f.Form = pb.Film_FEATURE
	default:
		f.Form = pb.Film_SHORT
	}
	if p := f.GetProvenance(); p != nil {
		p.DigitalSourceType = disclosure.NormalizeSourceType(p.GetDigitalSourceType())
		p.AigcLabel = disclosure.ParseLabel(p.GetAigcLabel().GetRaw())
	}
}

// etag is the fingerprint of the editable fields and the state. Counts and awards change on
// their own and are left out, as is what every write stamps.
func etag(f *pb.Film) (string, error) {
	editable := proto.CloneOf(f)
	editable.Uid, editable.Etag, editable.Revision, editable.Form = "", "", 0, 0
	editable.CreateTime, editable.UpdateTime, editable.FirstPublishTime = nil, nil, nil
	editable.Awards, editable.Stats = nil, nil
	return resource.Fingerprint(editable)
}

// transition changes a film's state, or says why it may not.
type transition func(f *pb.Film, now time.Time) error

func wrongState(f *pb.Film, verb string, takes string) error {
	state := f.GetState().String()
	if f.GetDeleteTime() != nil {
		state = "deleted"
	}
	e := fault.New(fault.FailedPrecondition, pb.ErrorReason_WRONG_STATE, "%s is %s; %s takes %s", f.GetName(), state, verb, takes)
	e.Metadata = map[string]string{"state": f.GetState().String()}
	return e
}

// move goes from one of the states to another and refuses deleted films.
func move(verb string, to pb.Film_State, from ...pb.Film_State) transition {
	return func(f *pb.Film, now time.Time) error {
		if f.GetDeleteTime() == nil {
			for _, s := range from {
				if f.GetState() == s {
					enter(f, to, now)
					return nil
				}
			}
		}
		names := make([]string, len(from))
		for i, s := range from {
			names[i] = s.String()
		}
		return wrongState(f, verb, strings.Join(names, " and "))
	}
}

func enter(f *pb.Film, to pb.Film_State, now time.Time) {
	f.State = to
	if to == pb.Film_PUBLISHED && f.GetFirstPublishTime() == nil {
		f.FirstPublishTime = timestamppb.New(now)
	}
}

// takeDown hides a film everywhere, or in the markets given. It takes PUBLISHED and
// TAKEN_DOWN, so that saying it twice is no error.
func takeDown(f *pb.Film, reason string, markets []string) error {
	if f.GetDeleteTime() != nil || f.GetState() != pb.Film_PUBLISHED && f.GetState() != pb.Film_TAKEN_DOWN {
		return wrongState(f, "TakeDownFilm", "PUBLISHED and TAKEN_DOWN")
	}
	if reason != "" {
		f.TakeDownReason = reason
	}
	if f.GetState() == pb.Film_TAKEN_DOWN {
		return nil
	}
	if len(markets) == 0 {
		f.State, f.TakenDownMarkets = pb.Film_TAKEN_DOWN, nil
		return nil
	}
	f.TakenDownMarkets = union(f.GetTakenDownMarkets(), markets)
	return nil
}

// reinstate undoes a take-down, whole or by market.
func reinstate(f *pb.Film, now time.Time) error {
	down := f.GetState() == pb.Film_TAKEN_DOWN || f.GetState() == pb.Film_PUBLISHED && len(f.GetTakenDownMarkets()) > 0
	if f.GetDeleteTime() != nil || !down {
		return wrongState(f, "ReinstateFilm", "films that are taken down")
	}
	f.TakenDownMarkets, f.TakeDownReason = nil, ""
	enter(f, pb.Film_PUBLISHED, now)
	return nil
}

func remove(f *pb.Film, now time.Time) error {
	if f.GetDeleteTime() != nil {
		return wrongState(f, "DeleteFilm", "films that are not deleted")
	}
	f.DeleteTime = timestamppb.New(now)
	return nil
}

// restore brings a deleted film back as DRAFT; markets it was taken down in stay so.
func restore(f *pb.Film, _ time.Time) error {
	if f.GetDeleteTime() == nil { // AIP-164
		return fault.New(fault.AlreadyExists, pb.ErrorReason_ALREADY_EXISTS, "%s is not deleted", f.GetName())
	}
	f.DeleteTime, f.State = nil, pb.Film_DRAFT
	return nil
}

// unpublishable says which publish rules a film does not meet as of a time. children says
// whether a genre of it is made for children.
func unpublishable(f *pb.Film, children bool, at time.Time) []fault.Violation {
	var unmet []fault.Violation
	need := func(ok bool, rule, remedy string) {
		if !ok {
			unmet = append(unmet, fault.Violation{Rule: rule, Subject: f.GetName(), Description: remedy})
		}
	}
	_, titled := texts.Find(f.GetLocalizations(), f.GetDefaultLanguage())
	need(titled, "film-title", "set default_language, and a title in that language")
	need(f.GetRuntime() != nil, "film-runtime", "set runtime")
	need(f.GetContentType() != pb.Film_CONTENT_TYPE_UNSPECIFIED, "film-content-type", "set content_type")
	need(disclosure.Known(f.GetProvenance().GetDigitalSourceType()), "film-digital-source-type",
		"set provenance.digital_source_type to a term of http://cv.iptc.org/newscodes/digitalsourcetype/")
	return append(unmet, disclosure.Publish(f, children, at)...)
}

func notPublishable(f *pb.Film, unmet []fault.Violation) error {
	rules := make([]string, len(unmet))
	for i, v := range unmet {
		rules[i] = v.Rule
	}
	e := fault.New(fault.FailedPrecondition, pb.ErrorReason_NOT_PUBLISHABLE, "%s does not meet the rules for publishing: %s", f.GetName(), strings.Join(rules, ", "))
	e.Violations = unmet
	return e
}

// basic cuts a film down to the BASIC view.
func basic(f *pb.Film) {
	key, ok := texts.Find(f.GetLocalizations(), f.GetDefaultLanguage())
	if ok {
		f.Localizations = map[string]*pb.FilmLocalization{key: f.Localizations[key]}
	} else {
		f.Localizations = nil
	}
	f.Credits, f.Media, f.Artwork = nil, nil, nil
	if f.Provenance != nil {
		f.Provenance.Stages = nil
	}
}
