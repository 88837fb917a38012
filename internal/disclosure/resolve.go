package disclosure

import (
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/bcp47"
)

// Resolve says what a surface must show of a film in a market at a time. An unset surface
// gets what is asked of all of them together.
func Resolve(f *pb.Film, market string, surface pb.DisclosureSurface_Kind, language string, at time.Time) *pb.ResolveDisclosureResponse {
	n := &notices[noticeOf(market, at.UnixMicro())]
	tag := bcp47.Best([]string{language, f.GetDefaultLanguage()}, Languages, Languages[0])
	out := &pb.ResolveDisclosureResponse{
		Disclosure: proto.CloneOf(Card(ClassOf(f), market, tag, at)),
		Language:   tag, Fields: fieldsOf(f), LegalBasis: n.LegalBasis, RulesVersion: Version,
		EffectiveTime: stamp(n.Effective), ExpireTime: stamp(n.Expire),
	}
	switch surface {
	case pb.DisclosureSurface_CARD:
		out.Placement = "on-card"
	case pb.DisclosureSurface_TITLE:
		out.Placement = "beside-title"
	case pb.DisclosureSurface_DOWNLOAD:
		out.Placement = "start-and-file-metadata"
	case pb.DisclosureSurface_OPENING:
		out.Placement = "start"
	default: // PLAYER, and the strictest for what is unknown
		out.Placement = "start-and-around-player"
	}
	if surface != pb.DisclosureSurface_CARD && surface != pb.DisclosureSurface_TITLE {
		if n.opening > 0 {
			out.MinDuration = durationpb.New(n.opening)
		}
		out.MinTextShare = n.share
	}
	if number := licenseNumber(f, market); number != "" {
		out.Fields["license_number"] = number // shown in the opening
	}
	return out
}

// fieldsOf are the machine-readable fields to embed.
func fieldsOf(f *pb.Film) map[string]string {
	p := f.GetProvenance()
	out := map[string]string{}
	put := func(name, value string) {
		if value != "" {
			out[name] = value
		}
	}
	put("Iptc4xmpExt:DigitalSourceType", NormalizeSourceType(p.GetDigitalSourceType()))
	put("c2pa:manifest_hash", p.GetC2Pa().GetManifestHash())
	put("c2pa:manifest_uri", p.GetC2Pa().GetManifestUri())
	put("c2pa:validation_status", p.GetC2Pa().GetValidationStatus())
	// A label that is not well-formed is not passed on; a new one says what is known.
	label := ParseLabel(p.GetAigcLabel().GetRaw())
	switch class := ClassOf(f); {
	case label.GetValid():
		put("AIGC", string(label.GetRaw()))
	case class <= Composite:
		put("AIGC", `{"AIGC":{"Label":"1"}}`)
	case class == Possible:
		put("AIGC", `{"AIGC":{"Label":"2"}}`)
	case class == Suspected:
		put("AIGC", `{"AIGC":{"Label":"3"}}`)
	}
	return out
}

func licenseNumber(f *pb.Film, market string) string {
	kind := OnlineFilm
	if short(f) {
		kind = MicroDramaFiling
	}
	for _, l := range f.GetLicenses() {
		if l.GetMarket() == market && (market != "CN" || l.GetKind() == kind) {
			return l.GetNumber()
		}
	}
	return ""
}
