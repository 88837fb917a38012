package listing

import (
	"context"
	"fmt"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
)

// wireCodec sends replies as they are, like the server's, and leaves answers undecoded, so that
// the client costs the same whatever it asks for.
type wireCodec struct{ base encoding.CodecV2 }

func newWireCodec() wireCodec  { return wireCodec{encoding.GetCodecV2("proto")} }
func (wireCodec) Name() string { return "proto" }

func (c wireCodec) Marshal(v any) (mem.BufferSlice, error) {
	if r, ok := v.(Reply); ok {
		return mem.BufferSlice{mem.SliceBuffer(r.Wire())}, nil
	}
	return c.base.Marshal(v)
}

func (c wireCodec) Unmarshal(data mem.BufferSlice, v any) error {
	if skip, ok := v.(*skipped); ok {
		skip.bytes = data.Len()
		return nil
	}
	return c.base.Unmarshal(data, v)
}

type skipped struct{ bytes int }

// same answers every call with the same bytes: what no service can be cheaper than.
type same struct{ wire []byte }

func (s *same) Wire() []byte                    { return s.wire }
func (s *same) Message() (proto.Message, error) { return nil, nil }

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

// emptyDesc is the same service with a handler that decodes the request and answers bytes.
func emptyDesc(wire map[string][]byte) *grpc.ServiceDesc {
	d := pb.ListingService_ServiceDesc
	d.HandlerType = (*any)(nil)
	d.Methods = nil
	add := func(method string, in func() proto.Message) {
		d.Methods = append(d.Methods, grpc.MethodDesc{MethodName: method, Handler: func(_ any, _ context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			if err := dec(in()); err != nil {
				return nil, err
			}
			return &same{wire["/theater.v1.ListingService/"+method]}, nil
		}})
	}
	add("ListRankedFilms", func() proto.Message { return new(pb.ListRankedFilmsRequest) })
	add("GetHome", func() proto.Message { return new(pb.GetHomeRequest) })
	add("GetTitle", func() proto.Message { return new(pb.GetTitleRequest) })
	add("BatchGetCards", func() proto.Message { return new(pb.BatchGetCardsRequest) })
	return &d
}

// serve runs a server on loopback and gives four connections to it.
func serve(b testing.TB, desc *grpc.ServiceDesc, impl any) []*grpc.ClientConn {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	s := grpc.NewServer(grpc.ForceServerCodecV2(newWireCodec()), grpc.NumStreamWorkers(32))
	s.RegisterService(desc, impl)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	conns := make([]*grpc.ClientConn, 4)
	for i := range conns {
		conns[i], err = grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.ForceCodecV2(newWireCodec()), grpc.MaxCallRecvMsgSize(64<<20)))
		require.NoError(b, err)
	}
	b.Cleanup(func() {
		for _, c := range conns {
			require.NoError(b, c.Close())
		}
		s.Stop()
		require.NoError(b, <-done)
	})
	return conns
}

// load calls n times from 32 goroutines over the connections and gives the process's CPU time.
func load(b testing.TB, conns []*grpc.ClientConn, c call, n int) time.Duration {
	before := cpu(b)
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			for range n / 32 {
				if err := conns[i%len(conns)].Invoke(b.Context(), c.method, c.req, new(skipped)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return cpu(b) - before
}

func cpu(b testing.TB) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkAgainstEmpty compares the CPU of whole calls, client and both ends of the network
// included, with those of a handler that answers the same bytes; rounds are interleaved. The
// client's share is the same in both, so that the server's own ratio is higher than this one:
// "extra-µs" is what the service adds to a call.
func BenchmarkAgainstEmpty(b *testing.B) {
	h := benchHouse(b)
	ours := serve(b, Desc(h.Service), h.Service)
	for _, c := range h.calls() {
		b.Run(c.name, func(b *testing.B) {
			wire := h.answer(c).Wire()
			empty := serve(b, emptyDesc(map[string][]byte{c.method: wire}), struct{}{})
			load(b, ours, c, 320)
			load(b, empty, c, 320)
			const round = 1600
			var a, e time.Duration
			n := 0
			for b.Loop() {
				e += load(b, empty, c, round)
				a += load(b, ours, c, round)
				n += round
			}
			b.ReportMetric(float64(a)/float64(e), "ratio")
			b.ReportMetric(float64(a-e)/float64(n)/1e3, "extra-µs")
			b.ReportMetric(float64(len(wire)), "bytes")
			b.ReportMetric(0, "ns/op")
		})
	}
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
