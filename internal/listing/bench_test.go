package listing

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
)

// benchHouse is a house with a catalogue like the real one: 20 cards are some 7.5 KB.
func benchHouse(b testing.TB) *house {
	h := newHouse(b)
	all := h.stock(2000, func(i int, f *pb.Film) {
		f.Localizations["en"].Tagline = "A tagline of ordinary length, as films have them, for film " + f.Name
		for _, w := range []int32{200, 400} {
			f.Artwork = append(f.Artwork, &pb.Artwork{Kind: pb.Artwork_BACKDROP, Uri: fmt.Sprintf("/art/%s-%d.svg", f.Name, w), Width: w, Height: w})
		}
	})
	h.publish(list("hot", all[:1000]...), list("top-rated", all[1000:]...))
	var sections []*pb.Section
	for i := range 20 {
		s := &pb.Section{Name: fmt.Sprintf("sections/s%d", i), Title: map[string]string{"en": "Section"}}
		switch i % 3 {
		case 0:
			s.Source = fromChart("hot")
		case 1:
			s.Source = fromRule(fmt.Sprintf(`content_type = DRAMA AND title:"%d"`, i%10), "title")
		default:
			s.Source = byHand(all[i*20 : i*20+40]...)
		}
		sections = append(sections, s)
	}
	h.shelves(false, sections...)
	return h
}

// call is one thing to ask for.
type call struct {
	name   string
	method string
	req    proto.Message
}

func (h *house) calls() []call {
	first := ask("hot", adult)
	m, err := h.ListRankedFilms(h.t.Context(), first)
	require.NoError(h.t, err)
	next := ask("hot", adult)
	next.PageToken = m.GetNextPageToken()
	cards := &pb.BatchGetCardsRequest{Viewer: adult}
	for _, id := range ids(20) {
		cards.Names = append(cards.Names, "films/"+id)
	}
	return []call{
		{"ranked", pb.ListingService_ListRankedFilms_FullMethodName, first},
		{"ranked-next", pb.ListingService_ListRankedFilms_FullMethodName, next},
		{"home-20x20", pb.ListingService_GetHome_FullMethodName, home(adult)},
		{"title", pb.ListingService_GetTitle_FullMethodName, &pb.GetTitleRequest{Name: "films/f0007", Viewer: adult}},
		{"cards-20", pb.ListingService_BatchGetCards_FullMethodName, cards},
	}
}

// direct gives the call as the method itself, from the decoded request to the bytes.
func (h *house) direct(c call) func() (Reply, error) {
	ctx := h.t.Context()
	switch req := c.req.(type) {
	case *pb.ListRankedFilmsRequest:
		return func() (Reply, error) { return h.listRankedFilms(ctx, req) }
	case *pb.GetHomeRequest:
		return func() (Reply, error) { return h.getHome(ctx, req) }
	case *pb.GetTitleRequest:
		return func() (Reply, error) { return h.getTitle(ctx, req) }
	case *pb.BatchGetCardsRequest:
		return func() (Reply, error) { return h.batchGetCards(ctx, req) }
	}
	h.t.Fatalf("no method for %T", c.req)
	return nil
}

func (h *house) answer(c call) Reply {
	r, err := h.direct(c)()
	require.NoError(h.t, err)
	return r
}

// BenchmarkHandler is the service's part alone: from a decoded request to the bytes.
func BenchmarkHandler(b *testing.B) {
	h := benchHouse(b)
	for _, c := range h.calls() {
		b.Run(c.name, func(b *testing.B) {
			f := h.direct(c)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkFresh is the check of a kept page of 20 films.
func BenchmarkFresh(b *testing.B) {
	h := benchHouse(b)
	r, err := h.listRankedFilms(b.Context(), ask("hot", adult))
	require.NoError(b, err)
	p := r.(*page)
	b.Run("all", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if !h.fresh(p, "SG") {
				b.Fatal("changed")
			}
		}
	})
	b.Run("versions", func(b *testing.B) {
		for b.Loop() {
			if !unchanged(h.shelf, p.seen) {
				b.Fatal("changed")
			}
		}
	})
}

// BenchmarkMake is a page made anew.
func BenchmarkMake(b *testing.B) {
	h := benchHouse(b)
	for _, c := range h.calls() {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				h.pages.cache.InvalidateAll()
				h.answer(c)
			}
		})
	}
	b.Run("ranks", func(b *testing.B) {
		snap, v := h.shelf.Current(), h.look(adult).viewer
		for b.Loop() {
			h.rankings = rankings{}
			h.ranks(snap, v, 7)
		}
	})
}
