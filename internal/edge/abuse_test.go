package edge_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/edge"
)

// wireClient speaks HTTP/2 to the gRPC port frame by frame.
type wireClient struct {
	net.Conn
	*http2.Framer
	headers bytes.Buffer
	encoder *hpack.Encoder
	next    uint32
}

func (h *house) wire(t testing.TB) *wireClient {
	t.Helper()
	conn, err := net.Dial("tcp", h.server.Addresses().GRPC)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
	_, err = io.WriteString(conn, http2.ClientPreface)
	require.NoError(t, err)
	c := &wireClient{Conn: conn, Framer: http2.NewFramer(conn, conn), next: 1}
	c.encoder = hpack.NewEncoder(&c.headers)
	require.NoError(t, c.WriteSettings())
	return c
}

// begin opens a stream with a request's headers.
func (c *wireClient) begin(method string, more ...string) (uint32, error) {
	id := c.next
	c.next += 2
	c.headers.Reset()
	fields := append([]string{":method", "POST", ":scheme", "http", ":path", method, ":authority", "localhost", "content-type", "application/grpc", "te", "trailers"}, more...)
	for i := 0; i < len(fields); i += 2 {
		_ = c.encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}) // into memory
	}
	return id, c.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.headers.Bytes(), EndHeaders: true})
}

// message frames a message as gRPC does.
func message(compressed byte, body []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{compressed}, uint32(len(body))), body...)
}

// answers reads frames until the stream ends and gives its headers and trailers.
func (c *wireClient) answers(t testing.TB, id uint32) map[string]string {
	t.Helper()
	c.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	got := map[string]string{}
	for {
		f, err := c.ReadFrame()
		require.NoError(t, err)
		if f.Header().StreamID != id {
			continue
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			for _, h := range f.Fields {
				got[h.Name] = h.Value
			}
			if f.StreamEnded() {
				return got
			}
		case *http2.RSTStreamFrame:
			got["reset"] = f.ErrCode.String()
			return got
		}
	}
}

const getFilm = "/theater.v1.CatalogService/GetFilm"

// goroutinesSettle waits until no more goroutines are left than there were, give or take the
// few of connections that are just closing.
func goroutinesSettle(t testing.TB, before int) {
	t.Helper()
	assert.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+20 }, 20*time.Second, 50*time.Millisecond)
}

// works calls as others do meanwhile; that the load refuses a call for a moment is no harm.
func works(t testing.TB, h *house) {
	t.Helper()
	client := pb.NewCatalogServiceClient(h.dial(t))
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		_, err := client.GetFilm(t.Context(), &pb.GetFilmRequest{Name: "films/a"})
		if status.Code(err) != codes.ResourceExhausted || time.Now().After(end) {
			assert.NoError(t, err)
			return
		}
	}
}

func answering(t testing.TB) *house {
	h := open(t, nil)
	h.get = func(context.Context, *pb.GetFilmRequest) (*pb.Film, error) { return &pb.Film{}, nil }
	works(t, h)
	return h
}

// TestP14MalformedMessagesAreTheClientsFault sends what grpc-go would call INTERNAL.
func TestP14MalformedMessagesAreTheClientsFault(t *testing.T) {
	h := answering(t)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write([]byte("x"))
	require.NoError(t, z.Close())
	halfPacked := packed.Bytes()[:packed.Len()-6]
	for name, body := range map[string][]byte{
		"not protobuf":   message(0, []byte{0xff, 0xff, 0xff}),
		"not UTF-8":      message(0, protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "films/\xff")),
		"a wrong type":   message(0, protowire.AppendVarint(protowire.AppendTag(nil, 0, protowire.VarintType), 7)),
		"corrupt gzip":   message(1, []byte("no gzip")),
		"half of a gzip": message(1, halfPacked),
	} {
		t.Run(name, func(t *testing.T) {
			c := h.wire(t)
			id, err := c.begin(getFilm, "grpc-encoding", "gzip")
			require.NoError(t, err)
			require.NoError(t, c.WriteData(id, true, body))
			got := c.answers(t, id)
			assert.Equal(t, "3", got["grpc-status"], got)
			assert.NotEmpty(t, got["grpc-status-details-bin"])
		})
	}
	assert.NotContains(t, h.log.String(), "internal error")
	works(t, h)
}

func TestP14TooLargeIsRefusedUnread(t *testing.T) {
	h := answering(t)
	big := strings.Repeat("x", 9<<20)
	_, err := pb.NewCatalogServiceClient(h.dial(t)).GetFilm(t.Context(), &pb.GetFilmRequest{Name: big})
	assert.Equal(t, codes.ResourceExhausted, status.Code(err))
	a := h.post(t, "CatalogService/GetFilm", `{"name":"`+big+`"}`)
	assert.Equal(t, http.StatusTooManyRequests, a.status)
	assert.Equal(t, "TOO_LARGE", problemOf(t, a).reason())
	// A bomb: 30 MB of zeros are 30 KB, less than a stream may send unasked.
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, err = io.CopyN(z, zeros{}, 30<<20)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	a = h.post(t, "CatalogService/GetFilm", bomb.String(), "Content-Encoding", "gzip")
	assert.Equal(t, http.StatusTooManyRequests, a.status)
	c := h.wire(t)
	id, err := c.begin(getFilm, "grpc-encoding", "gzip")
	require.NoError(t, err)
	for body := message(1, bomb.Bytes()); len(body) > 0; {
		n := min(len(body), 16<<10)
		require.NoError(t, c.WriteData(id, n == len(body), body[:n]))
		body = body[n:]
	}
	assert.Equal(t, "8", c.answers(t, id)["grpc-status"])
	works(t, h)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestP14RapidReset opens and resets streams as fast as it can (CVE-2023-44487).
func TestP14RapidReset(t *testing.T) {
	h := answering(t)
	before := runtime.NumGoroutine()
	c := h.wire(t)
	go func() { _, _ = io.Copy(io.Discard, c.Conn) }()
	for range 20_000 {
		id, err := c.begin(getFilm)
		if err == nil {
			err = c.WriteRSTStream(id, http2.ErrCodeCancel)
		}
		if err != nil {
			break // the server has had enough, which is as good
		}
	}
	works(t, h)
	_ = c.Close()
	goroutinesSettle(t, before)
}

// TestP14HeaderBombs sends more headers than anyone needs, in one frame and in many.
func TestP14HeaderBombs(t *testing.T) {
	h := answering(t)
	var more []string
	for range 1000 {
		more = append(more, "x-bomb", strings.Repeat("b", 100))
	}
	c := h.wire(t)
	id, err := c.begin(getFilm, more...)
	require.NoError(t, err)
	assert.NotEmpty(t, c.answers(t, id)["reset"], "a header list of 138 KB")
	// CONTINUATION frames without an end.
	c = h.wire(t)
	require.NoError(t, c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82}}))
	junk := bytes.Repeat([]byte{0x00, 0x01, 'a', 0x01, 'b'}, 3000)
	for err == nil {
		err = c.WriteContinuation(1, false, junk)
	}
	assert.Error(t, err, "the server took headers without end")
	// The HTTP port.
	req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+h.server.Addresses().HTTP+getFilm, strings.NewReader(`{"name":"films/a"}`))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Bomb", strings.Repeat("b", 1<<20))
	if resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req); err == nil {
		assert.GreaterOrEqual(t, resp.StatusCode, 400)
		_ = resp.Body.Close()
	}
	works(t, h)
}

// TestP14SlowReadersHoldNothing asks for large answers and never reads them.
func TestP14SlowReadersHoldNothing(t *testing.T) {
	h := open(t, func(c *edge.Config) { c.Drain = time.Second })
	text := strings.Repeat("x", 1<<20)
	h.get = func(_ context.Context, req *pb.GetFilmRequest) (*pb.Film, error) {
		if req.Name == "films/a" {
			return &pb.Film{}, nil
		}
		return &pb.Film{Name: text}, nil
	}
	body, err := proto.Marshal(&pb.GetFilmRequest{Name: "films/big"})
	require.NoError(t, err)
	before := runtime.NumGoroutine()
	c := h.wire(t)
	for range 100 {
		id, err := c.begin(getFilm)
		require.NoError(t, err)
		require.NoError(t, c.WriteData(id, true, message(0, body)))
	}
	works(t, h)
	assert.Eventually(t, func() bool { return edge.Inflight(h.server) == 0 }, 10*time.Second, 10*time.Millisecond, "a handler waits for a reader")
	_ = c.Close()
	goroutinesSettle(t, before)
}

// TestP14SilentCallsHoldNobodyUp opens calls and never sends their messages.
func TestP14SilentCallsHoldNobodyUp(t *testing.T) {
	h := answering(t)
	before := runtime.NumGoroutine()
	var conns []*wireClient
	for range 8 {
		c := h.wire(t)
		conns = append(conns, c)
		for range 250 {
			_, err := c.begin(getFilm)
			require.NoError(t, err)
		}
	}
	assert.Eventually(t, func() bool {
		for _, c := range conns { // where the machine is busy, some were refused
			_, _ = c.begin(getFilm)
		}
		return edge.Waiting(h.server) >= 1000
	}, 30*time.Second, 10*time.Millisecond)
	works(t, h)
	assert.Eventually(t, func() bool { return edge.Waiting(h.server) <= 1000 }, 20*time.Second, 50*time.Millisecond, "the latest must go")
	for _, c := range conns {
		_ = c.Close()
	}
	goroutinesSettle(t, before)
}

// TestP14JunkOnEveryPort sends what is no request at all.
func TestP14JunkOnEveryPort(t *testing.T) {
	h := answering(t)
	before := runtime.NumGoroutine()
	for _, addr := range []string{h.server.Addresses().GRPC, h.server.Addresses().HTTP, h.server.Addresses().Metrics} {
		for _, junk := range []string{
			"\x00\x00\x00", "GET / HTTP/9.9\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", http2.ClientPreface + strings.Repeat("\xff", 100),
			"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nffffffffffffffffff\r\n",
		} {
			conn, err := net.Dial("tcp", addr)
			require.NoError(t, err)
			_, _ = io.WriteString(conn, junk) // the server may have closed already
			_ = conn.(*net.TCPConn).CloseWrite()
			_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
		}
	}
	works(t, h)
	goroutinesSettle(t, before)
	assert.NotContains(t, h.log.String(), "panic")
}

// FuzzJSONBodies posts any body to a method with a rich request.
func FuzzJSONBodies(f *testing.F) {
	h := open(f, func(c *edge.Config) { c.Register = everything })
	f.Add(`{"film":{"localizations":{"en":{"title":"x"}},"runtime":"60s"},"filmId":"a"}`)
	f.Add(`{"film":{"runtime":"1e999s"}}`)
	f.Add(`[[[[`)
	f.Fuzz(func(t *testing.T, body string) {
		if body == "" {
			return
		}
		a := h.post(t, "CatalogService/CreateFilm", body)
		require.Contains(t, []int{http.StatusBadRequest, http.StatusNotImplemented}, a.status, a.body)
		require.NotNil(t, problemOf(t, a).reason())
	})
}
