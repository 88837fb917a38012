package listing

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/shelf"
)

func (s *Service) getTitle(ctx context.Context, req *pb.GetTitleRequest) (Reply, error) {
	v, err := narrow(ctx, req.GetViewer())
	if err != nil {
		return nil, err
	}
	k := keyOf(pb.ListingService_GetTitle_FullMethodName, req.GetName(), v)
	if p := s.kept(ctx, k); p != nil {
		return p, nil
	}
	g := s.look(v)
	e, verdict := g.named(req.GetName())
	if verdict == shelf.Hidden {
		return nil, fault.FilmNotFound()
	}
	m, err := titleOf(g, e, verdict)
	if err != nil {
		return nil, err
	}
	ranks := s.ranks(g.snap, g.viewer, e.Slot)
	for i, chart := range s.Charts.Charts() {
		if ranks[i] > 0 {
			m.Ranks = append(m.Ranks, &pb.ChartRank{Chart: chart.GetName(), Rank: ranks[i]})
		}
	}
	wire, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.Name, err)
	}
	p := &page{wire: wire, title: &title{slot: e.Slot, viewer: g.viewer, ranks: ranks}, decode: func() proto.Message { return new(pb.GetTitleResponse) }}
	s.keep(ctx, k, g, p)
	return p, nil
}

// titleOf gives everything but the ranks of a film the viewer may see.
func titleOf(g *glance, e *shelf.Entry, verdict shelf.Verdict) (*pb.GetTitleResponse, error) {
	card := new(pb.FilmCard)
	if err := proto.Unmarshal(g.card(nil, e, verdict), card); err != nil {
		return nil, fmt.Errorf("card of %s: %w", e.Name, err)
	}
	f := e.Film()
	m := &pb.GetTitleResponse{
		Card:       card,
		Synopsis:   f.GetLocalizations()[card.GetLanguage()].GetSynopsis(),
		Credits:    credits(f, g.viewer.Languages),
		Media:      f.GetMedia(),
		Provenance: f.GetProvenance(),
		Disclosure: card.GetDisclosure(),
	}
	if m.Synopsis == "" {
		m.Synopsis = f.GetLocalizations()[f.GetDefaultLanguage()].GetSynopsis()
	}
	if verdict != shelf.Playing {
		m.Media = slices.DeleteFunc(m.Media, func(x *pb.Media) bool { return x.GetKind() == pb.Media_MAIN })
	}
	return m, nil
}

// credits gives who made the film, each name in the viewer's best language.
func credits(f *pb.Film, languages []string) []*pb.TitleCredit {
	var out []*pb.TitleCredit
	for _, c := range f.GetCredits() {
		if name := localized(c.GetNames(), languages, f.GetDefaultLanguage()); name != "" {
			out = append(out, &pb.TitleCredit{Role: c.GetRole(), Name: name})
		}
	}
	return out
}

// localized picks a text by language: the viewer's best, else the fallback, else the first by tag.
func localized(texts map[string]string, languages []string, fallback string) string {
	if len(texts) == 0 {
		return ""
	}
	tags := make([]string, 0, len(texts))
	for tag := range texts {
		tags = append(tags, tag)
	}
	slices.Sort(tags)
	if text, ok := texts[shelf.MatchLanguage(languages, tags, fallback)]; ok {
		return text
	}
	return texts[tags[0]]
}

func (s *Service) batchGetCards(ctx context.Context, req *pb.BatchGetCardsRequest) (Reply, error) {
	v, err := narrow(ctx, req.GetViewer())
	if err != nil {
		return nil, err
	}
	if n := len(req.GetNames()); n < 1 || n > maxPageSize {
		return nil, fault.Invalid("names", "must hold 1 to %d names", maxPageSize)
	}
	k := keyOf(pb.ListingService_BatchGetCards_FullMethodName, join(req.GetNames()), v)
	if p := s.kept(ctx, k); p != nil {
		return p, nil
	}
	g := s.look(v)
	enc := s.encoder(g)
	defer s.release(enc)
	var missing []string
	for _, name := range req.GetNames() {
		e, verdict := g.named(name)
		if verdict == shelf.Hidden {
			missing = append(missing, name)
			continue
		}
		enc.card = g.card(enc.card[:0], e, verdict)
		enc.out = appendBytes(enc.out, 1, enc.card)
	}
	for _, name := range missing {
		enc.out = appendBytes(enc.out, 2, []byte(name))
	}
	p := &page{wire: enc.wire(), decode: func() proto.Message { return new(pb.BatchGetCardsResponse) }}
	s.keep(ctx, k, g, p)
	return p, nil
}
