package edge_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/edge"
)

// authority is a certificate authority.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t testing.TB) *authority {
	a := &authority{}
	a.cert, a.key, a.pem = issue(t, nil, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

func issue(t testing.TB, by *authority, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62))
	require.NoError(t, err)
	template.Subject = pkix.Name{CommonName: "test"}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// write issues a server certificate into files.
func (a *authority) write(t testing.TB, dir string) *big.Int {
	t.Helper()
	cert, key, text := issue(t, a, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "cert.pem"), text, 0o600))
	return cert.SerialNumber
}

// client gives a TLS configuration that trusts the authority and shows a certificate for uri.
func (a *authority) client(t testing.TB, by *authority, uri string) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	c := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	if uri != "" {
		u, err := url.Parse(uri)
		require.NoError(t, err)
		cert, key, _ := issue(t, by, &x509.Certificate{URIs: []*url.URL{u}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
		c.Certificates = []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}
	}
	return c
}

func tlsHouse(t testing.TB) (*house, *authority, string) {
	a, dir := newAuthority(t), t.TempDir()
	a.write(t, dir)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ca.pem"), a.pem, 0o600))
	static, err := auth.ParseStatic([]byte(`{
		"san:spiffe://theater/importer": {"id": "importer", "roles": ["ADMIN"]},
		"0123456789abcdef": {"id": "web", "roles": ["EDITOR"]}}`))
	require.NoError(t, err)
	h := open(t, func(c *edge.Config) {
		c.Auth = static
		c.TLS = &edge.TLSFiles{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"), ClientCA: filepath.Join(dir, "ca.pem")}
	})
	h.get = func(ctx context.Context, _ *pb.GetFilmRequest) (*pb.Film, error) {
		return &pb.Film{Name: auth.CallerFrom(ctx).ID}, nil
	}
	return h, a, dir
}

func TestClientCertificatesAreIdentities(t *testing.T) {
	h, a, _ := tlsHouse(t)
	call := func(c *tls.Config, options ...grpc.CallOption) (string, error) {
		conn := h.dial(t, grpc.WithTransportCredentials(credentials.NewTLS(c)))
		film, err := pb.NewCatalogServiceClient(conn).GetFilm(t.Context(), &pb.GetFilmRequest{Name: "films/a"}, options...)
		return film.GetName(), err
	}
	who, err := call(a.client(t, a, "spiffe://theater/importer"))
	require.NoError(t, err)
	assert.Equal(t, "importer", who)
	_, err = call(a.client(t, a, "spiffe://theater/unlisted"))
	code, _ := reason(t, err)
	assert.Equal(t, codes.Unauthenticated, code)
	_, err = call(a.client(t, nil, ""))
	code, _ = reason(t, err)
	assert.Equal(t, codes.Unauthenticated, code)
	who, err = call(a.client(t, nil, ""), grpc.PerRPCCredentials(token("0123456789abcdef")))
	require.NoError(t, err)
	assert.Equal(t, "web", who, "tokens do as well")
	_, err = call(a.client(t, newAuthority(t), "spiffe://theater/importer"))
	assert.Error(t, err, "signed by someone else")
	// The same over HTTP.
	web := &http.Client{Transport: &http.Transport{TLSClientConfig: a.client(t, a, "spiffe://theater/importer"), DisableKeepAlives: true, ForceAttemptHTTP2: true}}
	resp, err := web.Post("https://"+h.server.Addresses().HTTP+"/theater.v1.CatalogService/GetFilm", "application/json", strings.NewReader(`{"name":"films/a"}`))
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	assert.Equal(t, 200, resp.StatusCode)
	assert.Equal(t, 2, resp.ProtoMajor)
}

// TestP13NewCertificatesDropNoCall replaces the certificate, by way of broken files, while
// calls go on over open connections and new ones.
func TestP13NewCertificatesDropNoCall(t *testing.T) {
	h, a, dir := tlsHouse(t)
	ctx, cancel := context.WithCancel(t.Context())
	var calls sync.WaitGroup
	steady := pb.NewCatalogServiceClient(h.dial(t, grpc.WithTransportCredentials(credentials.NewTLS(a.client(t, a, "spiffe://theater/importer")))))
	calls.Go(func() {
		for ctx.Err() == nil {
			_, err := steady.GetFilm(t.Context(), &pb.GetFilmRequest{Name: "films/a"})
			assert.NoError(t, err)
		}
	})
	serial := func() *big.Int {
		conn, err := tls.Dial("tcp", h.server.Addresses().GRPC, a.client(t, nil, ""))
		require.NoError(t, err)
		defer func() { _ = conn.Close() }()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber
	}
	before := serial()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "cert.pem"), []byte("half of a fi"), 0o600))
	assert.Eventually(t, func() bool { return strings.Contains(h.log.String(), "not usable") }, 20*time.Second, 20*time.Millisecond)
	assert.Equal(t, before, serial())
	next := a.write(t, dir)
	assert.Eventually(t, func() bool { return serial().Cmp(next) == 0 }, 20*time.Second, 100*time.Millisecond)
	cancel()
	calls.Wait()
}

func TestBadTLSFilesAreAnErrorAtTheStart(t *testing.T) {
	for name, files := range map[string]edge.TLSFiles{"missing": {Cert: "none", Key: "none"}, "empty": {}} {
		h := &house{rooms: &rooms{}}
		_, err := edge.New(edge.Config{GRPCAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0", MetricsAddr: "127.0.0.1:0", Register: h.register, Auth: auth.Open{}, Log: &h.revisions, TLS: &files})
		assert.Error(t, err, name)
	}
}
