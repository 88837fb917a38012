package listing

import (
	"context"
	"slices"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/generations"
	"github.com/aitheater/theater/internal/shelf"
	"github.com/aitheater/theater/internal/sqldb"
)

// Charts is what listing needs from the room that defines the built-in charts.
type Charts interface {
	// Charts gives the built-in charts; the messages are shared and not changed.
	Charts() []*pb.Chart
}

// Config is what a Service is made of; every field is required.
type Config struct {
	Shelf       *shelf.Shelf
	Generations *generations.Store
	Keys        *auth.Keys
	Clock       *sqldb.Clock
	Charts      Charts
}

// Service is the ListingService.
type Service struct {
	pb.UnimplementedListingServiceServer
	Config
	pages    *pages
	rules    *rules
	census   *census
	rankings rankings
	builtin  builtin
	encoders sync.Pool // of *encoder
}

// New makes the service. It starts nothing and needs no closing.
func New(c Config) *Service {
	return &Service{Config: c, pages: newPages(), rules: newRules(), census: newCensus(), builtin: newBuiltin()}
}

// Reply is an answer that is already encoded.
type Reply interface {
	// Wire is the answer's wire form; it is shared and not to be changed.
	Wire() []byte
	// Message decodes the answer; the message is the caller's.
	Message() (proto.Message, error)
}

// Desc is the generated description of the service, except that the methods in which a viewer
// reads pages answer a Reply instead of a message. Interceptors see the request message as ever.
func Desc(s *Service) *grpc.ServiceDesc {
	d := pb.ListingService_ServiceDesc
	d.Methods = slices.Clone(d.Methods)
	encoded := map[string]grpc.MethodHandler{
		"ListRankedFilms":  handler(pb.ListingService_ListRankedFilms_FullMethodName, s.listRankedFilms),
		"GetHome":          handler(pb.ListingService_GetHome_FullMethodName, s.getHome),
		"ListSectionFilms": handler(pb.ListingService_ListSectionFilms_FullMethodName, s.listSectionFilms),
		"GetTitle":         handler(pb.ListingService_GetTitle_FullMethodName, s.getTitle),
		"BatchGetCards":    handler(pb.ListingService_BatchGetCards_FullMethodName, s.batchGetCards),
	}
	for i, m := range d.Methods {
		if h, ok := encoded[m.MethodName]; ok {
			d.Methods[i].Handler = h
		}
	}
	return &d
}

// handler is what protoc-gen-go-grpc generates, for a method that answers encoded.
func handler[Q any](method string, f func(context.Context, *Q) (Reply, error)) grpc.MethodHandler {
	return func(srv any, ctx context.Context, dec func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
		in := new(Q)
		if err := dec(in); err != nil {
			return nil, err
		}
		if interceptor == nil {
			return f(ctx, in)
		}
		info := &grpc.UnaryServerInfo{Server: srv, FullMethod: method}
		return interceptor(ctx, in, info, func(ctx context.Context, req any) (any, error) {
			return f(ctx, req.(*Q))
		})
	}
}

// decoded turns an encoded answer into its message.
func decoded[M proto.Message](r Reply, err error) (M, error) {
	var none M
	if err != nil {
		return none, err
	}
	m, err := r.Message()
	if err != nil {
		return none, err
	}
	return m.(M), nil
}

// ListRankedFilms implements pb.ListingServiceServer.
func (s *Service) ListRankedFilms(ctx context.Context, req *pb.ListRankedFilmsRequest) (*pb.ListRankedFilmsResponse, error) {
	return decoded[*pb.ListRankedFilmsResponse](s.listRankedFilms(ctx, req))
}

// GetHome implements pb.ListingServiceServer.
func (s *Service) GetHome(ctx context.Context, req *pb.GetHomeRequest) (*pb.GetHomeResponse, error) {
	return decoded[*pb.GetHomeResponse](s.getHome(ctx, req))
}

// ListSectionFilms implements pb.ListingServiceServer.
func (s *Service) ListSectionFilms(ctx context.Context, req *pb.ListSectionFilmsRequest) (*pb.ListSectionFilmsResponse, error) {
	return decoded[*pb.ListSectionFilmsResponse](s.listSectionFilms(ctx, req))
}

// GetTitle implements pb.ListingServiceServer.
func (s *Service) GetTitle(ctx context.Context, req *pb.GetTitleRequest) (*pb.GetTitleResponse, error) {
	return decoded[*pb.GetTitleResponse](s.getTitle(ctx, req))
}

// BatchGetCards implements pb.ListingServiceServer.
func (s *Service) BatchGetCards(ctx context.Context, req *pb.BatchGetCardsRequest) (*pb.BatchGetCardsResponse, error) {
	return decoded[*pb.BatchGetCardsResponse](s.batchGetCards(ctx, req))
}

// narrow gives the viewer the caller may be.
func narrow(ctx context.Context, v *pb.Viewer) (*pb.Viewer, error) {
	return auth.Narrow(auth.CallerFrom(ctx), v)
}

const (
	defaultPageSize = 20
	maxPageSize     = 100
)

// clampSize applies the contract's paging rule to a count a client asks for.
func clampSize(field string, n, most int32) (int32, error) {
	switch {
	case n < 0:
		return 0, fault.Invalid(field, "must not be negative")
	case n == 0:
		return defaultPageSize, nil
	default:
		return min(n, most), nil
	}
}
