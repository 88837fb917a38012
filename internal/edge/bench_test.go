package edge_test

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/edge"
)

// BenchmarkDoor compares a call through the door with one of a server that does nothing but
// return the same bytes, with the same server options. Client and server share the process,
// so the difference is what counts.
func BenchmarkDoor(b *testing.B) {
	page, err := proto.Marshal(&pb.GetTitleResponse{Synopsis: strings.Repeat("x", 7500)})
	require.NoError(b, err)
	desc := pb.ListingService_ServiceDesc
	desc.Methods = append([]grpc.MethodDesc(nil), desc.Methods...)
	for i, m := range desc.Methods {
		if m.MethodName == "GetTitle" {
			desc.Methods[i].Handler = func(_ any, _ context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
				var req pb.GetTitleRequest
				if err := dec(&req); err != nil {
					return nil, err
				}
				return frozen(page), nil
			}
		}
	}
	static, err := auth.ParseStatic([]byte(`{"0123456789abcdef0123": {"id": "web", "roles": ["VIEWER"]}}`))
	require.NoError(b, err)
	door := open(b, func(c *edge.Config) {
		c.Auth = static
		c.Register = func(s grpc.ServiceRegistrar) { s.RegisterService(&desc, pb.UnimplementedListingServiceServer{}) }
	})
	empty := grpc.NewServer(edge.ServerOptions()...)
	empty.RegisterService(&desc, pb.UnimplementedListingServiceServer{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	go func() { _ = empty.Serve(l) }()
	defer empty.Stop()
	for name, addr := range map[string]string{"empty": l.Addr().String(), "door": door.server.Addresses().GRPC} {
		b.Run(name, func(b *testing.B) {
			conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithPerRPCCredentials(token("0123456789abcdef0123")),
				grpc.WithDefaultCallOptions(grpc.ForceCodecV2(raw{})))
			require.NoError(b, err)
			defer func() { _ = conn.Close() }()
			req, err := proto.Marshal(&pb.GetTitleRequest{Name: "films/a", Viewer: &pb.Viewer{Market: "CN", Languages: []string{"zh"}, Audience: pb.Viewer_ADULT}})
			require.NoError(b, err)
			b.ReportAllocs()
			b.SetParallelism(16)
			b.RunParallel(func(p *testing.PB) {
				in, out := frozen(req), frozen(nil)
				for p.Next() {
					if err := conn.Invoke(b.Context(), "/theater.v1.ListingService/GetTitle", &in, &out); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

type frozen []byte

func (f frozen) Wire() []byte { return f }
func (f frozen) Message() (proto.Message, error) {
	m := &pb.GetTitleResponse{}
	return m, proto.Unmarshal(f, m)
}

// raw is a client's codec that neither encodes nor decodes.
type raw struct{}

func (raw) Name() string { return "proto" }
func (raw) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*frozen))}, nil
}
func (raw) Unmarshal(data mem.BufferSlice, v any) error { return nil }

// token sends a bearer token, also without TLS.
type token string

func (t token) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(t)}, nil
}
func (token) RequireTransportSecurity() bool { return false }
