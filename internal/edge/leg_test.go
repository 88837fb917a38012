package edge_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/edge"
	"github.com/aitheater/theater/internal/fault"
)

// deaf is a connection that takes no more once hush is closed.
type deaf struct {
	net.Conn
	hush, closed chan struct{}
	once         sync.Once
}

func (d *deaf) Read(b []byte) (int, error) {
	select {
	case <-d.hush:
		<-d.closed
		return 0, io.EOF
	default:
		return d.Conn.Read(b)
	}
}

func (d *deaf) Close() error {
	d.once.Do(func() { close(d.closed) })
	return d.Conn.Close()
}

// TestP14AReaderThatStopsReadingEndsItsStreamOnly has handlers give up on readers while their
// message is stuck, over every transport of the HTTP port, and the server stop with more of
// them: nobody is left inside a response, and others are served meanwhile.
func TestP14AReaderThatStopsReadingEndsItsStreamOnly(t *testing.T) {
	for name, c := range map[string]struct {
		http2, tls, deaf bool
	}{
		"HTTP/1.1":                        {},
		"HTTP/1.1 with TLS":               {tls: true},
		"HTTP/2":                          {http2: true},
		"HTTP/2 with TLS":                 {http2: true, tls: true},
		"HTTP/2, connection not read":     {http2: true, deaf: true},
		"HTTP/2 TLS, connection not read": {http2: true, tls: true, deaf: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, dir := newAuthority(t), t.TempDir()
			a.write(t, dir)
			h := open(t, func(conf *edge.Config) {
				conf.Drain, conf.Stall = 15*time.Second, time.Second
				if c.tls {
					conf.TLS = &edge.TLSFiles{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
				}
			})
			stuck, sent := make(chan struct{}), make(chan error, 2)
			h.get = func(context.Context, *pb.GetFilmRequest) (*pb.Film, error) { return &pb.Film{}, nil }
			h.export = func(_ *pb.ExportFilmsRequest, s grpc.ServerStreamingServer[pb.ExportFilmsResponse]) error {
				moved := make(chan struct{}, 10_000)
				go func() {
					for {
						if err := s.Send(&pb.ExportFilmsResponse{ResumeToken: strings.Repeat("x", 100_000)}); err != nil {
							sent <- err
							return
						}
						moved <- struct{}{}
					}
				}()
				for n := 0; ; n++ {
					select {
					case <-moved:
						if n == 20 && c.deaf {
							<-stuck // the client falls silent between two messages
						}
					case <-time.After(300 * time.Millisecond):
						return fault.New(fault.ResourceExhausted, pb.ErrorReason_OVERLOADED, "too slow")
					}
				}
			}
			hush := make(chan struct{})
			protocols := new(http.Protocols)
			protocols.SetHTTP1(!c.http2)
			protocols.SetHTTP2(c.http2 && c.tls)
			protocols.SetUnencryptedHTTP2(c.http2 && !c.tls)
			transport := &http.Transport{
				Protocols: protocols, TLSClientConfig: a.client(t, nil, ""),
				HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: 64 << 10},
				DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
					conn, err := new(net.Dialer).DialContext(ctx, network, addr)
					return &deaf{Conn: conn, hush: hush, closed: make(chan struct{})}, err
				},
			}
			if c.deaf {
				transport.HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: 512 << 20, MaxReceiveBufferPerConnection: 512 << 20}
			}
			defer transport.CloseIdleConnections()
			scheme := "http://"
			if c.tls {
				scheme = "https://"
			}
			call := func() *http.Response {
				req, err := http.NewRequestWithContext(t.Context(), "POST", scheme+h.server.Addresses().HTTP+"/theater.v1.CatalogService/ExportFilms", strings.NewReader("\x00\x00\x00\x00\x02{}"))
				require.NoError(t, err)
				req.Header.Set("Content-Type", "application/connect+json")
				resp, err := transport.RoundTrip(req)
				require.NoError(t, err)
				require.Equal(t, http.StatusOK, resp.StatusCode)
				return resp
			}
			resp := call()
			if c.deaf {
				close(hush)
				close(stuck)
			}
			select {
			case err := <-sent:
				assert.Error(t, err)
			case <-time.After(10 * time.Second):
				t.Fatal("still inside a response whose handler gave up")
			}
			if !c.tls {
				assert.Equal(t, http.StatusOK, h.post(t, "CatalogService/GetFilm", `{"name":"films/a"}`).status)
			}
			if !c.deaf {
				defer call().Body.Close()
			}
			begin := time.Now()
			require.NoError(t, h.stop())
			assert.Less(t, time.Since(begin), 12*time.Second, "TLS takes 5 s to close")
			require.NoError(t, resp.Body.Close())
		})
	}
}

// TestP14ASilentCallerEndsItsCallOnly has streams whose handlers leave while they wait for
// another message.
func TestP14ASilentCallerEndsItsCallOnly(t *testing.T) {
	h := open(t, nil)
	left := make(chan error, 1)
	h.imp = func(s grpc.BidiStreamingServer[pb.ImportFilmsRequest, pb.ImportFilmsResponse]) error {
		waiting := make(chan struct{})
		go func() {
			close(waiting)
			_, err := s.Recv()
			left <- err
		}()
		<-waiting
		time.Sleep(50 * time.Millisecond)
		return fault.New(fault.ResourceExhausted, pb.ErrorReason_OVERLOADED, "no time for this")
	}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	defer transport.CloseIdleConnections()
	body, hold := io.Pipe()
	defer hold.Close()
	req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+h.server.Addresses().HTTP+"/theater.v1.CatalogService/ImportFilms", body)
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/connect+json")
	resp, err := transport.RoundTrip(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	end, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	assert.Contains(t, string(end), "OVERLOADED")
	assert.Error(t, <-left)
}
