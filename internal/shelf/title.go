package shelf

import (
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/disclosure"
)

// Title gives what a title page shows to a viewer who may see the film, without ranks: the
// texts in the language of its card, MAIN media only while the film plays.
func (s *Snapshot) Title(e *Entry, v *Viewer, verdict Verdict, now time.Time) *pb.GetTitleResponse {
	f, language := e.Film(), e.languageFor(v)
	card := &pb.FilmCard{}
	if err := proto.Unmarshal(s.AppendCard(nil, e, v, verdict, now), card); err != nil {
		panic("shelf: an encoded card does not decode: " + err.Error())
	}
	out := &pb.GetTitleResponse{
		Card:       card,
		Synopsis:   f.GetLocalizations()[e.tag(language)].GetSynopsis(),
		Provenance: f.GetProvenance(),
		Disclosure: disclosure.Card(e.class, v.Market, e.noticeLanguage(v, language), now),
	}
	if out.Provenance != nil {
		out.Provenance.DigitalSourceType = disclosure.NormalizeSourceType(out.Provenance.GetDigitalSourceType())
	}
	for _, c := range f.GetCredits() {
		out.Credits = append(out.Credits, &pb.TitleCredit{Role: c.GetRole(), Name: textIn(c.GetNames(), []string{e.tag(language), f.GetDefaultLanguage()})})
	}
	for _, m := range f.GetMedia() {
		if m.GetKind() != pb.Media_MAIN || verdict == Playing {
			out.Media = append(out.Media, m)
		}
	}
	return out
}
