package edge_test

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/edge"
)

var update = flag.Bool("update", false, "write the golden files")

// everything registers all services, without rooms behind them: a call that passes the door
// is told that there is no handler, or that its request is not valid.
func everything(s grpc.ServiceRegistrar) {
	pb.RegisterCatalogServiceServer(s, pb.UnimplementedCatalogServiceServer{})
	pb.RegisterListingServiceServer(s, pb.UnimplementedListingServiceServer{})
	pb.RegisterSignalServiceServer(s, pb.UnimplementedSignalServiceServer{})
	pb.RegisterChartServiceServer(s, pb.UnimplementedChartServiceServer{})
	pb.RegisterCurationServiceServer(s, pb.UnimplementedCurationServiceServer{})
}

// TestP15EveryMethodForEveryPrincipal calls each method as each principal and compares with
// the golden file: who may call what changes only with a line of its diff.
func TestP15EveryMethodForEveryPrincipal(t *testing.T) {
	principals := []string{"nobody", "VIEWER", "SERVICE", "EDITOR", "PUBLISHER", "AUDITOR", "ADMIN"}
	var file []string
	for _, role := range principals[1:] {
		file = append(file, fmt.Sprintf(`"key-for-the-role-%s": {"id": "%s", "roles": ["%s"]}`, role, strings.ToLower(role), role))
	}
	static, err := auth.ParseStatic([]byte("{" + strings.Join(file, ",") + "}"))
	require.NoError(t, err)
	h := open(t, func(c *edge.Config) { c.Register, c.Auth = everything, static })
	conn := h.dial(t)
	var lines []string
	for _, desc := range []grpc.ServiceDesc{
		pb.CatalogService_ServiceDesc, pb.ListingService_ServiceDesc, pb.SignalService_ServiceDesc, pb.ChartService_ServiceDesc, pb.CurationService_ServiceDesc,
	} {
		names := []string{}
		for _, m := range desc.Methods {
			names = append(names, m.MethodName)
		}
		for _, m := range desc.Streams {
			names = append(names, m.StreamName)
		}
		sort.Strings(names)
		for _, name := range names {
			line := strings.TrimPrefix(desc.ServiceName, "theater.v1.") + "/" + name + ":"
			for _, who := range principals {
				if verdict(t, conn, "/"+desc.ServiceName+"/"+name, who) {
					line += " " + who
				}
			}
			lines = append(lines, line)
		}
	}
	got := strings.Join(lines, "\n") + "\n"
	const golden = "testdata/access.txt"
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(got), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	assert.Equal(t, string(want), got)
	assert.NotContains(t, got, "nobody")
}

// verdict reports whether a principal passes the door, and checks how it is refused.
func verdict(t *testing.T, conn *grpc.ClientConn, method, who string) bool {
	t.Helper()
	var options []grpc.CallOption
	if who != "nobody" {
		options = append(options, grpc.PerRPCCredentials(token("key-for-the-role-"+who)))
	}
	s, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method, options...)
	require.NoError(t, err)
	if err := s.SendMsg(&emptypb.Empty{}); !errors.Is(err, io.EOF) {
		require.NoError(t, err)
	}
	require.NoError(t, s.CloseSend())
	err = s.RecvMsg(&emptypb.Empty{})
	switch code := status.Code(err); code {
	case codes.Unimplemented, codes.InvalidArgument:
		return true
	case codes.Unauthenticated:
		assert.Equal(t, "nobody", who, method)
	case codes.PermissionDenied:
		assert.NotEqual(t, "nobody", who, method)
	default:
		t.Errorf("%s as %s: %v", method, who, err)
	}
	return false
}
