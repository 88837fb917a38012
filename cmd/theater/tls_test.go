package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// authority is a private certificate authority that writes PEM files into a folder: ca.pem,
// and NAME.pem and NAME.key for each certificate.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{dir: t.TempDir()}
	a.cert, a.key = a.issue(t, "ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

func (a *authority) issue(t *testing.T, name string, cert *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	cert.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62))
	require.NoError(t, err)
	cert.NotBefore, cert.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = cert, key
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, key.Public(), signer)
	require.NoError(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(a.file(name+".pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(a.file(name+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	made, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return made, key
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// server issues what a server named theater.example has, client what a service shows.
func (a *authority) server(t *testing.T) {
	a.issue(t, "server", &x509.Certificate{DNSNames: []string{"theater.example"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
}

func (a *authority) client(t *testing.T, name string) {
	a.issue(t, name, &x509.Certificate{
		URIs: []*url.URL{{Scheme: "spiffe", Host: "theater", Path: "/" + name}}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
}

func TestCommandsCallOverTLSOfAPrivateAuthority(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	a.server(t)
	a.client(t, "importer")
	a.client(t, "stranger")
	keys := a.file("keys.json")
	require.NoError(t, os.WriteFile(keys, []byte(`{"san:spiffe://theater/importer": {"id": "importer", "roles": ["ADMIN"]}}`), 0o600))
	settings := []string{"--store", "sqlite:" + a.file("theater.db"), "--auth", "static:" + keys,
		"--tls-cert", a.file("server.pem"), "--tls-key", a.file("server.key"), "--tls-client-ca", a.file("ca.pem")}
	p := start(t, nil, append([]string{"serve"}, settings...)...)
	to := []string{"--server", p.addrs.GRPC, "--tls-ca", a.file("ca.pem"), "--tls-server-name", "theater.example"}
	as := func(who string) []string {
		return append([]string{"--tls-cert", a.file(who + ".pem"), "--tls-key", a.file(who + ".key")}, to...)
	}
	for _, c := range []struct {
		name    string
		command []string
		flags   []string
		code    int
		says    string
	}{
		{"probe", []string{"healthcheck"}, to, exitOK, ""},
		{"import with a listed certificate", []string{"import", "films", "-"}, as("importer"), exitOK, "1 created"},
		{"export with it", []string{"export", "films"}, as("importer"), exitOK, ""},
		{"certificate nobody lists", []string{"export", "films"}, as("stranger"), exitFailed, "Unauthenticated"},
		{"no certificate", []string{"export", "films"}, to, exitFailed, "Unauthenticated"},
		{"the system's authorities", []string{"healthcheck", "--tls"}, to[:2], exitFailed, "certificate"},
		{"the name of the address", []string{"healthcheck"}, to[:4], exitFailed, "certificate"},
		{"authority that is not there", []string{"healthcheck", "--tls-ca", a.file("none")}, to[:2], exitFailed, "--tls-ca"},
		{"authority that is none", []string{"healthcheck", "--tls-ca", keys}, to[:2], exitFailed, "no certificate"},
		{"certificate without key", []string{"healthcheck", "--tls-cert", a.file("importer.pem")}, to, exitUsage, "--tls-key"},
		{"certificate that is not there", []string{"healthcheck"}, as("none"), exitFailed, "none.pem"},
	} {
		got := theater(t, filmLine("a", ""), append(c.command, c.flags...)...)
		assert.Equal(t, c.code, got.code, "%s: %s", c.name, got.err)
		assert.Contains(t, got.err, c.says, c.name)
	}
	code, _ := p.stop()
	require.Equal(t, exitOK, code, p.err.String())

	check := theater(t, "", append([]string{"check"}, settings...)...)
	assert.Equal(t, exitOK, check.code, check.out+check.err)
	require.NoError(t, os.Remove(a.file("server.key")))
	check = theater(t, "", append([]string{"check"}, settings...)...)
	assert.Equal(t, exitFailed, check.code)
	assert.Contains(t, check.out, "server.key: no such file")
}

// The probe of a container has the variables of its server, as the chart sets them.
func TestHealthcheckInTheContainerOfAServer(t *testing.T) {
	t.Parallel()
	a, services := newAuthority(t), newAuthority(t)
	a.server(t)
	keys := a.file("keys.json")
	require.NoError(t, os.WriteFile(keys, []byte(`{"san:spiffe://theater/importer": {"id": "importer", "roles": ["ADMIN"]}}`), 0o600))
	for name, files := range map[string]map[string]string{
		"plain": {},
		"TLS":   {"THEATER_TLS_CERT": a.file("server.pem"), "THEATER_TLS_KEY": a.file("server.key")},
		"mTLS":  {"THEATER_TLS_CERT": a.file("server.pem"), "THEATER_TLS_KEY": a.file("server.key"), "THEATER_TLS_CLIENT_CA": services.file("ca.pem")},
	} {
		environ := map[string]string{"THEATER_GRPC_ADDR": ":0", "THEATER_AUTH": "static:" + keys, "THEATER_STORE": "sqlite:" + a.file(name+".db")}
		maps.Copy(environ, files)
		var list []string
		for variable, value := range environ {
			list = append(list, variable+"="+value)
		}
		p := start(t, list, "serve")
		_, port, err := net.SplitHostPort(p.addrs.GRPC)
		require.NoError(t, err)
		environ["THEATER_GRPC_ADDR"] = ":" + port
		ready := theaterIn(t, environ, "", "healthcheck", "--local")
		assert.Equal(t, exitOK, ready.code, "%s: %s", name, ready.err)
		code, _ := p.stop()
		require.Equal(t, exitOK, code, p.err.String())
		gone := theaterIn(t, environ, "", "healthcheck", "--local")
		assert.Equal(t, exitFailed, gone.code, name)
		assert.Contains(t, gone.err, "127.0.0.1:"+port)
	}
}

// Front ends with tokens of a provider and services with certificates, at the same doors.
func TestAProviderAndCertificatesTogether(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	a.server(t)
	a.client(t, "importer")
	keys := a.file("keys.json")
	require.NoError(t, os.WriteFile(keys, []byte(`{"san:spiffe://theater/importer": {"id": "importer", "roles": ["ADMIN"]}}`), 0o600))
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/keys" {
			_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k"}}})
			return
		}
		at := "http://" + r.Host
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": at, "jwks_uri": at + "/keys"})
	}))
	defer provider.Close()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "k"}}, nil)
	require.NoError(t, err)
	claims, err := json.Marshal(map[string]any{"iss": provider.URL, "aud": "theater", "sub": "desk", "exp": time.Now().Add(time.Hour).Unix(), "theater_role": "EDITOR"})
	require.NoError(t, err)
	signed, err := signer.Sign(claims)
	require.NoError(t, err)
	token, err := signed.CompactSerialize()
	require.NoError(t, err)

	p := start(t, nil, "serve", "--store", "sqlite:"+a.file("theater.db"), "--auth", "oidc,static:"+keys,
		"--oidc-issuer", provider.URL, "--oidc-audience", "theater",
		"--tls-cert", a.file("server.pem"), "--tls-key", a.file("server.key"), "--tls-client-ca", a.file("ca.pem"))
	for name, c := range map[string]struct {
		flags []string
		code  int
	}{
		"token":       {[]string{"--token", token}, exitOK},
		"certificate": {[]string{"--tls-cert", a.file("importer.pem"), "--tls-key", a.file("importer.key")}, exitOK},
		"neither":     {nil, exitFailed},
		"bad token":   {[]string{"--token", token + "x", "--tls-cert", a.file("importer.pem"), "--tls-key", a.file("importer.key")}, exitFailed},
	} {
		got := theater(t, "", append([]string{"export", "films", "--server", p.addrs.GRPC, "--tls-ca", a.file("ca.pem"), "--tls-server-name", "theater.example"}, c.flags...)...)
		assert.Equal(t, c.code, got.code, "%s: %s", name, got.err)
	}
}
