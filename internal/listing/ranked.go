package listing

import (
	"context"

	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/generations"
	"github.com/aitheater/theater/internal/resource"
)

const rankedMethod = pb.ListingService_ListRankedFilms_FullMethodName

func (s *Service) listRankedFilms(ctx context.Context, req *pb.ListRankedFilmsRequest) (Reply, error) {
	v, err := narrow(ctx, req.GetViewer())
	if err != nil {
		return nil, err
	}
	size, err := clampSize("page_size", req.GetPageSize(), maxPageSize)
	if err != nil {
		return nil, err
	}
	k := keyOf(rankedMethod, req.GetChart(), v)
	k.genre, k.content, k.token, k.size = req.GetGenre(), req.GetContentType(), req.GetPageToken(), size
	if p := s.kept(ctx, k); p != nil {
		return p, nil
	}
	g := s.look(v)
	p, err := s.rankedPage(ctx, g, req, v, int(size))
	if err != nil {
		return nil, err
	}
	s.keep(ctx, k, g, p)
	return p, nil
}

// rankedPage makes one page of a chart.
func (s *Service) rankedPage(ctx context.Context, g *glance, req *pb.ListRankedFilmsRequest, v *pb.Viewer, size int) (*page, error) {
	f, err := s.rankedSieve(g, req)
	if err != nil {
		return nil, err
	}
	bound, err := bind(req, v)
	if err != nil {
		return nil, err
	}
	at, first, err := s.open(rankedMethod, req.GetPageToken(), bound)
	if err != nil {
		return nil, err
	}
	list, err := s.listFor(ctx, req.GetChart(), v.GetMarket(), at, first)
	if err != nil {
		return nil, err
	}
	w := s.rankings.walk(g, list, f, int(at.pos))
	enc := s.encoder(g)
	defer s.release(enc)
	full := f.plain(g.viewer)
	for n := 0; n < size; n++ {
		p, ok := w.next()
		if !ok {
			break
		}
		at.given++
		at.pos = uint32(w.pos)
		p.rank, p.full = int32(at.given), full
		enc.rankedFilm(1, p)
	}
	if _, more := w.next(); more {
		at.number = list.Number
		enc.out = appendText(enc.out, 2, s.seal(rankedMethod, at, bound))
	}
	enc.out = appendGeneration(enc.out, 3, list)
	return &page{
		wire:    enc.wire(),
		decode:  func() proto.Message { return new(pb.ListRankedFilmsResponse) },
		origins: []origin{originOf(req.GetChart(), list, first)},
	}, nil
}

// rankedSieve checks what is asked for against the vocabulary, which is the same for everyone.
func (s *Service) rankedSieve(g *glance, req *pb.ListRankedFilmsRequest) (sieve, error) {
	if err := resource.CheckName("chart", "charts/", req.GetChart()); err != nil {
		return sieve{}, err
	}
	chart := s.chart(g.snap, req.GetChart())
	if chart == nil {
		return sieve{}, fault.Missing(req.GetChart())
	}
	if _, known := pb.Film_ContentType_name[int32(req.GetContentType())]; !known {
		return sieve{}, fault.Invalid("content_type", "is no content type")
	}
	if genre := req.GetGenre(); genre != "" && g.snap.Genre("genres/"+genre) == nil {
		return sieve{}, fault.Invalid("genre", "is no genre of the vocabulary")
	}
	return sieve{genre: req.GetGenre(), content: req.GetContentType(), minForm: chart.GetMinForm()}, nil
}

// listFor gives the list a page is cut from: the newest for a first page, else the cursor's.
// A chart without films counted yet has no list.
func (s *Service) listFor(ctx context.Context, chart, market string, at cursor, first bool) (*generations.List, error) {
	if first {
		return s.Generations.Latest(chart, market), nil
	}
	l := s.Generations.At(ctx, chart, market, at.number)
	if l == nil {
		return nil, expired()
	}
	return l, nil
}
