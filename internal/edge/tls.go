package edge

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// TLSFiles are the PEM files of the gRPC and HTTP ports. They are read again while the server
// runs: new connections get the new certificate, and those that are open go on.
type TLSFiles struct {
	// Cert holds the certificate and its chain, Key its private key.
	Cert, Key string
	// ClientCA holds the authorities of client certificates (mTLS); empty = none are asked
	// for. A certificate is never required, because tokens are credentials too, but one that
	// does not verify ends the connection.
	ClientCA string
}

// Check reads the files as a server would, and says what is wrong with them.
func (f TLSFiles) Check() error {
	_, err := newCertificates(f, nil)
	return err
}

// reloadEvery is how often the files are looked at. They are small, and a look is cheaper
// than the surprises of file notification under mounted secrets.
const reloadEvery = 2 * time.Second

// certificates serve the newest good files.
type certificates struct {
	files   TLSFiles
	log     *slog.Logger
	current atomic.Pointer[loaded]
}

type loaded struct {
	cert, key, ca []byte
	config        *tls.Config
}

func newCertificates(files TLSFiles, log *slog.Logger) (*certificates, error) {
	c := &certificates{files: files, log: log}
	next, err := c.load()
	if err != nil {
		return nil, err
	}
	c.current.Store(next)
	return c, nil
}

// config gives a port's configuration; protocols are those of ALPN.
func (c *certificates) config(protocols ...string) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: protocols, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		config := c.current.Load().config.Clone()
		config.NextProtos = protocols
		return config, nil
	}}
}

// load reads the files; it gives what is current when nothing changed.
func (c *certificates) load() (*loaded, error) {
	next := &loaded{}
	for path, into := range map[string]*[]byte{c.files.Cert: &next.cert, c.files.Key: &next.key, c.files.ClientCA: &next.ca} {
		if path == "" {
			continue
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		*into = b
	}
	if now := c.current.Load(); now != nil && bytes.Equal(now.cert, next.cert) && bytes.Equal(now.key, next.key) && bytes.Equal(now.ca, next.ca) {
		return now, nil
	}
	pair, err := tls.X509KeyPair(next.cert, next.key)
	if err != nil {
		return nil, fmt.Errorf("%s, %s: %w", c.files.Cert, c.files.Key, err)
	}
	next.config = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if c.files.ClientCA != "" {
		next.config.ClientCAs = x509.NewCertPool()
		if !next.config.ClientCAs.AppendCertsFromPEM(next.ca) {
			return nil, errors.New(c.files.ClientCA + ": no certificate in it")
		}
		next.config.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return next, nil
}

// watch reloads until ctx ends. Files that do not fit together, as in the middle of a
// replacement, change nothing.
func (c *certificates) watch(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		next, err := c.load()
		if err != nil {
			c.log.Warn("the TLS files are not usable; the ones before stay in use", "error", err)
			continue
		}
		if c.current.Swap(next) != next {
			c.log.Info("TLS certificate loaded anew", "file", c.files.Cert)
		}
	}
}
