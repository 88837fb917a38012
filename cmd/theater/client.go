package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/aitheater/theater/internal/client"
)

// dial makes the connection to --server; it connects with the first call. It is the one that
// package client gives everyone, but for a person waits for no server that is not there.
func (c *config) dial(more ...grpc.DialOption) (*grpc.ClientConn, error) {
	if _, _, err := net.SplitHostPort(c.Server); err != nil {
		return nil, usagef("--server %q: want HOST:PORT", c.Server)
	}
	encryption, err := c.clientTLS()
	if err != nil {
		return nil, err
	}
	o := client.Options{Token: c.Credential, TLS: encryption}
	return c.connect(o, more)
}

// dialLocal is dial to the server that has these settings. Nothing secret may be sent over it:
// the certificate is not checked, because it names the host that clients call.
func (c *config) dialLocal(more ...grpc.DialOption) (*grpc.ClientConn, error) {
	host, port, err := net.SplitHostPort(c.GRPCAddr)
	if err != nil {
		return nil, usagef("--grpc-addr %q: want HOST:PORT", c.GRPCAddr)
	}
	if host == "" || net.ParseIP(host).IsUnspecified() {
		host = "127.0.0.1"
	}
	c.Server = net.JoinHostPort(host, port)
	var o client.Options
	if c.TLSCert != "" {
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true}
	}
	return c.connect(o, more)
}

// connect dials c.Server for calls that fail at once where nobody is there.
func (c *config) connect(o client.Options, more []grpc.DialOption) (*grpc.ClientConn, error) {
	return client.Dial(c.Server, o, append(more, grpc.WithDefaultCallOptions(grpc.WaitForReady(false)))...)
}

// clientTLS is how the server is called; nil for plain text. Whoever names a file or a name for
// TLS means TLS.
func (c *config) clientTLS() (*tls.Config, error) {
	if !c.TLS && c.TLSCA == "" && c.TLSName == "" && c.TLSCert == "" && c.TLSKey == "" {
		return nil, nil
	}
	o := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.TLSName}
	if c.TLSCA != "" {
		roots, err := os.ReadFile(c.TLSCA)
		if err != nil {
			return nil, fmt.Errorf("--tls-ca: %w", err)
		}
		o.RootCAs = x509.NewCertPool()
		if !o.RootCAs.AppendCertsFromPEM(roots) {
			return nil, fmt.Errorf("--tls-ca %s: no certificate in it", c.TLSCA)
		}
	}
	switch {
	case c.TLSCert == "" && c.TLSKey == "":
		return o, nil
	case c.TLSCert == "" || c.TLSKey == "":
		return nil, usagef("--tls-cert and --tls-key belong together: name both or neither")
	}
	pair, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
	if err != nil {
		return nil, fmt.Errorf("--tls-cert, --tls-key: %w", err)
	}
	o.Certificates = []tls.Certificate{pair}
	return o, nil
}

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
	// What this very server says, at once.
	dial := c.dial
	if c.Local {
		dial = c.dialLocal
	}
	conn, err := dial(grpc.WithDisableHealthCheck(), grpc.WithDisableRetry())
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
