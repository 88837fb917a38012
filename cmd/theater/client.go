package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

// retryReads lets the client repeat calls that a server did not take because it was
// starting, stopping or not reachable for a moment.
const retryReads = `{"methodConfig":[{"name":[{"service":"theater.v1.CatalogService","method":"ListFilms"},{"service":"theater.v1.CatalogService","method":"ExportFilms"}],
	"retryPolicy":{"maxAttempts":4,"initialBackoff":"0.2s","maxBackoff":"2s","backoffMultiplier":2,"retryableStatusCodes":["UNAVAILABLE"]}}]}`

// dial makes the connection to --server; it connects with the first call.
func (c *config) dial() (*grpc.ClientConn, error) {
	if _, _, err := net.SplitHostPort(c.Server); err != nil {
		return nil, usagef("--server %q: want HOST:PORT", c.Server)
	}
	options := []grpc.DialOption{
		grpc.WithDefaultServiceConfig(retryReads),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64 << 20)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: time.Minute, Timeout: 20 * time.Second}),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
	}
	if c.TLS {
		options = append(options, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12})))
	}
	if c.Credential != "" {
		options = append(options, grpc.WithPerRPCCredentials(bearer{c.Credential, c.TLS}))
	}
	return grpc.NewClient(c.Server, options...)
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

// explain adds the way out to the errors of a call that people meet most.
func (c *config) explain(err error) error {
	switch status.Code(err) {
	case codes.Unavailable:
		return fmt.Errorf("no answer from %s: %w\nis a server running there? Start one with \"theater serve\", or name another with --server", c.Server, err)
	case codes.Unauthenticated:
		return fmt.Errorf("%w\nname a token with --token or THEATER_TOKEN", err)
	}
	return err
}

func runHealthcheck(ctx context.Context, std console, c *config, _ []string) error {
	conn, err := c.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	res, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		return c.explain(err)
	}
	if res.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		return fmt.Errorf("%s is %s", c.Server, res.GetStatus())
	}
	fmt.Fprintln(std.out, "ready")
	return nil
}
