package client

import (
	"context"
	"crypto/tls"
	_ "embed"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/health" // client side health checking, which the service config asks for
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// maxReply is the largest reply taken: an export's page of large films.
const maxReply = 64 << 20

// Options of a connection. The zero value is plain text without credentials.
type Options struct {
	// TLS; nil = plain text.
	TLS *tls.Config
	// Token is a bearer token or static key; empty = none.
	Token string
}

// Dial makes a connection to target, which is HOST:PORT or any gRPC target, for example
// "dns:///theater.example:443", behind which there may be several servers. It connects with
// the first call.
func Dial(target string, o Options, more ...grpc.DialOption) (*grpc.ClientConn, error) {
	transport := insecure.NewCredentials()
	if o.TLS != nil {
		transport = credentials.NewTLS(o.TLS)
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithDefaultServiceConfig(ServiceConfig()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReply)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithChainUnaryInterceptor(identified),
	}
	if o.Token != "" {
		options = append(options, grpc.WithPerRPCCredentials(bearer{o.Token, o.TLS != nil}))
	}
	return grpc.NewClient(target, append(options, more...)...)
}

//go:embed service-config.json
var serviceConfig string

// ServiceConfig is the gRPC service config every client should use, in any language: calls
// wait for a server that is ready, are spread over all of them, and are repeated when a
// server was not available. Clients that are not this package must send a request_id with
// calls that change something.
func ServiceConfig() string { return serviceConfig }

// identified gives calls that change something a request_id, so that a repetition of one
// whose answer was lost changes nothing more. The caller's message stays as it is.
func identified(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, call grpc.UnaryInvoker, options ...grpc.CallOption) error {
	if m, ok := req.(proto.Message); ok {
		field := m.ProtoReflect().Descriptor().Fields().ByName("request_id")
		if field != nil && field.Kind() == protoreflect.StringKind && m.ProtoReflect().Get(field).String() == "" {
			m = proto.Clone(m)
			m.ProtoReflect().Set(field, protoreflect.ValueOfString(uuid.NewString()))
			req = m
		}
	}
	return call(ctx, method, req, reply, conn, options...)
}

// bearer sends a token with each call.
type bearer struct {
	token  string
	secure bool
}

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + b.token}, nil
}

// RequireTransportSecurity is true only where TLS was asked for: inside a cluster the
// transport is often secured by others, and whoever names a token decides where it goes.
func (b bearer) RequireTransportSecurity() bool { return b.secure }

// String keeps the token out of logs.
func (bearer) String() string { return "bearer(redacted)" }
