package listing

import (
	"context"
	"log/slog"
	"math"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/generations"
	"github.com/aitheater/theater/internal/resource"
	"github.com/aitheater/theater/internal/shelf"
)

const (
	homeMethod    = pb.ListingService_GetHome_FullMethodName
	sectionMethod = pb.ListingService_ListSectionFilms_FullMethodName
	maxSections   = 50
)

func (s *Service) getHome(ctx context.Context, req *pb.GetHomeRequest) (Reply, error) {
	v, err := narrow(ctx, req.GetViewer())
	if err != nil {
		return nil, err
	}
	sections, err := clampSize("section_limit", req.GetSectionLimit(), maxSections)
	if err != nil {
		return nil, err
	}
	cards, err := clampSize("cards_per_section", req.GetCardsPerSection(), maxPageSize)
	if err != nil {
		return nil, err
	}
	k := keyOf(homeMethod, pageOf(req.GetPage(), v), v)
	k.size, k.sections = cards, sections
	snap := s.Shelf.Current()
	if p := s.kept(ctx, k); p != nil {
		if next := p.revised(snap); next == p {
			return p, nil
		} else if next != nil {
			s.pages.cache.Set(k, next)
			return next, nil
		}
	}
	g := s.look(v)
	c := s.composer(ctx, g)
	enc := s.encoder(g)
	defer s.release(enc)
	if err := c.home(s, enc, v, k.name, int(sections), int(cards), true); err != nil {
		return nil, err
	}
	body := len(enc.out)
	enc.out = appendInt(enc.out, 2, g.snap.Revision())
	p := &page{
		wire:    enc.wire(),
		body:    body,
		origins: c.origins,
		rules:   c.rules,
		decode:  func() proto.Message { return new(pb.GetHomeResponse) },
	}
	s.keep(ctx, k, g, p)
	return p, nil
}

// pageOf is the page a viewer asks for, or the one that viewers of the kind begin with.
func pageOf(page string, v *pb.Viewer) string {
	switch {
	case page != "":
		return page
	case v.GetAudience() == pb.Viewer_ADULT:
		return "home"
	default:
		return "kids"
	}
}

// composer composes from what is newest.
func (s *Service) composer(ctx context.Context, g *glance) *composer {
	return &composer{
		g:        g,
		rankings: &s.rankings,
		list: func(chart string, at cursor, first bool) (*generations.List, error) {
			return s.listFor(ctx, chart, g.viewer.Market, at, first)
		},
		rule: func(src *pb.RuleSource, at cursor, first bool) (*rule, *ruleList, error) {
			ru, err := s.rules.compile(src)
			if err != nil {
				return nil, nil, err
			}
			if !first {
				if l, ok := s.rules.lists.GetIfPresent(at.number); ok {
					return ru, l, nil
				}
			}
			return ru, s.rules.list(ru, g.snap, g.now), nil
		},
		minForm: func(chart string) pb.Film_Form { return s.chart(g.snap, chart).GetMinForm() },
	}
}

// home encodes the sections of a page, with tokens if asked for.
func (c *composer) home(s *Service, enc *encoder, v *pb.Viewer, page string, sections, cards int, tokens bool) error {
	layout := s.layout(c.g.snap, "layouts/"+page)
	if layout.GetUniqueFilms() {
		c.taken = map[uint32]bool{}
	}
	for _, name := range layout.GetSections() {
		if sections == 0 {
			break
		}
		sec := s.section(c.g.snap, name)
		if sec == nil || !c.g.eligible(sec) {
			continue
		}
		row, err := c.row(sec, cursor{}, true, cards)
		if err != nil {
			// Sections are checked when they are saved; one that does not compile any more is
			// left out, loudly, so that the others can be shown.
			slog.Error("section cannot be composed", "section", name, "error", err)
			continue
		}
		if len(row.picks) == 0 {
			continue
		}
		token := ""
		if tokens && row.more {
			bound, err := bind(&pb.ListSectionFilmsRequest{Parent: name}, v)
			if err != nil {
				return err
			}
			token = s.seal(sectionMethod, row.next, bound)
		}
		enc.section(1, row, token)
		sections--
	}
	return nil
}

// layout gives a layout: the stored one, else the built-in one, else nil.
func (s *Service) layout(snap *shelf.Snapshot, name string) *pb.Layout {
	if own := snap.Layout(name); own != nil {
		return own
	}
	return s.builtin.layouts[name]
}

// section gives a section: the stored one, else the built-in one, else nil.
func (s *Service) section(snap *shelf.Snapshot, name string) *pb.Section {
	if own := snap.Section(name); own != nil {
		return own
	}
	return s.builtin.sections[name]
}

func (s *Service) listSectionFilms(ctx context.Context, req *pb.ListSectionFilmsRequest) (Reply, error) {
	v, err := narrow(ctx, req.GetViewer())
	if err != nil {
		return nil, err
	}
	size, err := clampSize("page_size", req.GetPageSize(), maxPageSize)
	if err != nil {
		return nil, err
	}
	k := keyOf(sectionMethod, req.GetParent(), v)
	k.token, k.size = req.GetPageToken(), size
	if p := s.kept(ctx, k); p != nil {
		return p, nil
	}
	g := s.look(v)
	p, err := s.sectionPage(ctx, g, req, v, int(size))
	if err != nil {
		return nil, err
	}
	s.keep(ctx, k, g, p)
	return p, nil
}

// sectionPage makes one page of a section.
func (s *Service) sectionPage(ctx context.Context, g *glance, req *pb.ListSectionFilmsRequest, v *pb.Viewer, size int) (*page, error) {
	if err := resource.CheckName("parent", "sections/", req.GetParent()); err != nil {
		return nil, err
	}
	bound, err := bind(req, v)
	if err != nil {
		return nil, err
	}
	at, first, err := s.open(sectionMethod, req.GetPageToken(), bound)
	if err != nil {
		return nil, err
	}
	sec := s.section(g.snap, req.GetParent())
	if sec == nil || !g.eligible(sec) {
		return nil, fault.Missing(req.GetParent())
	}
	c := s.composer(ctx, g)
	row, err := c.row(sec, at, first, size)
	if err != nil {
		return nil, err
	}
	enc := s.encoder(g)
	defer s.release(enc)
	for _, p := range row.picks {
		enc.rankedFilm(1, p)
	}
	if row.more {
		enc.out = appendText(enc.out, 2, s.seal(sectionMethod, row.next, bound))
	}
	enc.out = appendGeneration(enc.out, 3, row.list)
	return &page{
		wire:    enc.wire(),
		origins: c.origins,
		rules:   c.rules,
		decode:  func() proto.Message { return new(pb.ListSectionFilmsResponse) },
	}, nil
}

// ComposeHome gives a page as GetHome would at a time: for a narrowed viewer, over any snapshot
// (with releases thought applied, or of the past) and any lists (nil = the chart has none).
// sections and cards are as in GetHome. There are no tokens in it. dropped_pins holds the pins
// in force that are not shown, with the reason: film-missing, hidden, short, not-visible,
// past-limit, duplicate or collision.
func (s *Service) ComposeHome(snap *shelf.Snapshot, lists func(chart, market string) *generations.List, v *pb.Viewer, page string, at time.Time, sections, cards int32) (*pb.PreviewHomeResponse, error) {
	sections, err := clampSize("section_limit", sections, maxSections)
	if err != nil {
		return nil, err
	}
	cards, err = clampSize("cards_per_section", cards, maxPageSize)
	if err != nil {
		return nil, err
	}
	g := &glance{snap: snap, viewer: shelf.NewViewer(v), now: at, edge: math.MaxInt64}
	c := s.composer(context.Background(), g)
	c.list = func(chart string, _ cursor, _ bool) (*generations.List, error) {
		return lists(chart, v.GetMarket()), nil
	}
	c.rule = func(src *pb.RuleSource, _ cursor, _ bool) (*rule, *ruleList, error) {
		ru, err := s.rules.compile(src)
		if err != nil {
			return nil, nil, err
		}
		return ru, &ruleList{slots: snap.Select(ru.filter, ru.order, at, false)}, nil
	}
	c.rankings = new(rankings)
	enc := s.encoder(g)
	defer s.release(enc)
	if err := c.home(s, enc, v, pageOf(page, v), int(sections), int(cards), false); err != nil {
		return nil, err
	}
	m := new(pb.GetHomeResponse)
	if err := proto.Unmarshal(enc.out, m); err != nil {
		return nil, err
	}
	return &pb.PreviewHomeResponse{Sections: m.GetSections(), Revision: snap.Revision(), DroppedPins: c.dropped}, nil
}
