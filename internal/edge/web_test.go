package edge_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/edge"
	"github.com/aitheater/theater/internal/fault"
)

// problem is a Connect error as a browser sees it.
type problem struct {
	Code    string
	Message string
	Details []struct {
		Type  string
		Debug map[string]any
	}
}

func problemOf(t testing.TB, a answer) problem {
	t.Helper()
	var p problem
	require.NoError(t, json.Unmarshal([]byte(a.body), &p), a.body)
	assert.Equal(t, "application/json", a.header.Get("Content-Type"))
	assert.Equal(t, "no-store", a.header.Get("Cache-Control"))
	return p
}

func (p problem) reason() any {
	for _, d := range p.Details {
		if d.Type == "google.rpc.ErrorInfo" {
			return d.Debug["reason"]
		}
	}
	return nil
}

const viewerJSON = `{"name":"films/a","viewer":{"market":"CN","audience":"ADULT"}}`

func TestJSONGoesThroughTheSameDoor(t *testing.T) {
	h := open(t, nil)
	h.revisions.applied.Store(9)
	h.get = func(ctx context.Context, req *pb.GetFilmRequest) (*pb.Film, error) {
		md, _ := metadata.FromIncomingContext(ctx)
		assert.Equal(t, []string{"yes"}, md.Get("x-test"))
		return &pb.Film{Name: req.Name, DefaultLanguage: "zh", Revision: 12}, nil
	}
	a := h.post(t, "CatalogService/GetFilm", `{"name":"films/a"}`, "X-Test", "yes")
	assert.Equal(t, 200, a.status, a.body)
	assert.Equal(t, `{"name":"films/a","revision":"12","defaultLanguage":"zh"}`, a.body)
	assert.Equal(t, "9", a.header.Get("Trailer-Theater-Revision"))
}

func TestJSONIsStrict(t *testing.T) {
	h := open(t, nil)
	h.title = func(context.Context, *pb.GetTitleRequest) (*pb.GetTitleResponse, error) {
		t.Error("a malformed request reached the room")
		return nil, nil
	}
	for name, body := range map[string]string{
		"unknown field":     `{"name":"films/a","nmae":"x"}`,
		"unknown enum name": `{"name":"films/a","viewer":{"market":"CN","audience":"TEENS"}}`,
		"not JSON":          `{`,
		"empty":             ``,
		"two values":        viewerJSON + viewerJSON,
		"a field twice":     `{"name":"films/a","name":"films/b"}`,
		"wrong type":        `{"name":7}`,
		"not UTF-8":         "{\"name\":\"films/\xff\"}",
		"too deep":          strings.Repeat(`{"viewer":`, 20_000),
		"rule":              `{"name":"films/a","viewer":{"market":"china"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			a := h.post(t, "ListingService/GetTitle", body, "Content-Type", "application/json")
			assert.Equal(t, http.StatusBadRequest, a.status)
			p := problemOf(t, a)
			assert.Equal(t, "invalid_argument", p.Code)
			assert.Contains(t, []any{"MALFORMED_REQUEST", "INVALID_FIELD"}, p.reason())
			assert.NotContains(t, p.Message, "\u00a0")
			assert.Regexp(t, `^[a-z_.]+: `, p.Message)
		})
	}
}

func TestErrorsAreTheSameOnEveryProtocol(t *testing.T) {
	h := open(t, nil)
	h.get = func(context.Context, *pb.GetFilmRequest) (*pb.Film, error) {
		return nil, fault.EtagMismatch("films/a", "now")
	}
	a := h.post(t, "CatalogService/GetFilm", `{"name":"films/a"}`)
	p := problemOf(t, a)
	assert.Equal(t, "aborted", p.Code)
	assert.Equal(t, http.StatusConflict, a.status)
	assert.Equal(t, "ETAG_MISMATCH", p.reason())
	_, grpcErr := pb.NewCatalogServiceClient(h.dial(t)).GetFilm(t.Context(), &pb.GetFilmRequest{Name: "films/a"})
	assert.Contains(t, grpcErr.Error(), p.Message)
	webErr := h.grpcWeb(t, "CatalogService/GetFilm", &pb.GetFilmRequest{Name: "films/a"}, &pb.Film{})
	require.Error(t, webErr)
	assert.Equal(t, connect.CodeAborted, connect.CodeOf(webErr))
	assert.Contains(t, webErr.Error(), p.Message)
}

// grpcWeb calls over gRPC-Web.
func (h *house) grpcWeb(t testing.TB, rpc string, in, out any) error {
	t.Helper()
	hc := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	c := connect.NewClient(connecthttp.NewTransport(hc, "http://"+h.server.Addresses().HTTP, connecthttp.WithGRPCWeb()))
	return c.CallUnary(t.Context(), connect.Spec{Procedure: "/theater.v1." + rpc}, in, out)
}

func TestGRPCWeb(t *testing.T) {
	h := open(t, nil)
	h.get = func(_ context.Context, req *pb.GetFilmRequest) (*pb.Film, error) {
		return &pb.Film{Name: req.Name}, nil
	}
	var film pb.Film
	require.NoError(t, h.grpcWeb(t, "CatalogService/GetFilm", &pb.GetFilmRequest{Name: "films/a"}, &film))
	assert.Equal(t, "films/a", film.Name)
}

// pages serves GetTitle by a reply in wire form, as the listing room does.
func pages(h *house) func(*edge.Config) {
	return func(c *edge.Config) {
		c.Register = func(s grpc.ServiceRegistrar) {
			desc := pb.ListingService_ServiceDesc
			desc.Methods = append([]grpc.MethodDesc(nil), desc.Methods...)
			for i, m := range desc.Methods {
				if m.MethodName == "GetTitle" {
					desc.Methods[i].Handler = func(srv any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
						var req pb.GetTitleRequest
						if err := dec(&req); err != nil {
							return nil, err
						}
						m, err := h.title(ctx, &req)
						if err != nil {
							return nil, err
						}
						return wire{m}, nil
					}
				}
			}
			s.RegisterService(&desc, listing{h.rooms})
		}
	}
}

func TestEncodedRepliesAreTheSameOnEveryProtocol(t *testing.T) {
	h := &house{rooms: &rooms{}}
	made := 0
	want := &pb.GetTitleResponse{Synopsis: "烟花底下有我家", Card: &pb.FilmCard{Name: "films/a", Title: "标题"}}
	h.title = func(context.Context, *pb.GetTitleRequest) (*pb.GetTitleResponse, error) { made++; return want, nil }
	o := open(t, pages(h))
	req := &pb.GetTitleRequest{Name: "films/a", Viewer: &pb.Viewer{Market: "CN"}}
	got, err := pb.NewListingServiceClient(o.dial(t)).GetTitle(t.Context(), req)
	require.NoError(t, err)
	assert.Equal(t, want.Synopsis, got.Synopsis)
	var web pb.GetTitleResponse
	require.NoError(t, o.grpcWeb(t, "ListingService/GetTitle", req, &web))
	assert.Equal(t, want.Card.Title, web.Card.Title)
	const text = `{"card":{"name":"films/a","title":"标题"},"synopsis":"烟花底下有我家"}`
	for range 3 {
		assert.Equal(t, text, o.post(t, "ListingService/GetTitle", viewerJSON).body)
	}
	want = &pb.GetTitleResponse{Synopsis: "changed"}
	assert.Equal(t, `{"synopsis":"changed"}`, o.post(t, "ListingService/GetTitle", viewerJSON).body, "a kept rendering is of other bytes")
	assert.Equal(t, 6, made, "the room decides each time")
}

func getPath(message string) string {
	return "/theater.v1.ListingService/GetTitle?" + url.Values{"encoding": {"json"}, "message": {message}}.Encode()
}

func TestGETsAreRevalidatedBehindTheGate(t *testing.T) {
	for name, change := range map[string]func(*house) func(*edge.Config){
		"message": func(*house) func(*edge.Config) { return nil },
		"encoded": pages,
	} {
		t.Run(name, func(t *testing.T) {
			inner := &house{rooms: &rooms{}}
			h := open(t, change(inner))
			if change(inner) == nil {
				inner = h
			}
			synopsis, hidden := "one", false
			inner.title = func(context.Context, *pb.GetTitleRequest) (*pb.GetTitleResponse, error) {
				if hidden {
					return nil, fault.FilmNotFound()
				}
				return &pb.GetTitleResponse{Synopsis: synopsis}, nil
			}
			a := h.http(t, "GET", getPath(viewerJSON), "")
			require.Equal(t, 200, a.status, a.body)
			assert.Equal(t, "private, no-cache", a.header.Get("Cache-Control"))
			assert.Equal(t, "Authorization", a.header.Get("Vary"))
			tag := a.header.Get("ETag")
			assert.Regexp(t, `^W/"[\w-]+"$`, tag)
			a = h.http(t, "GET", getPath(viewerJSON), "", "If-None-Match", `"other", `+tag)
			assert.Equal(t, http.StatusNotModified, a.status)
			assert.Empty(t, a.body)
			assert.Equal(t, tag, a.header.Get("ETag"))
			synopsis = "two"
			a = h.http(t, "GET", getPath(viewerJSON), "", "If-None-Match", tag)
			assert.Equal(t, 200, a.status)
			assert.NotEqual(t, tag, a.header.Get("ETag"))
			hidden = true
			a = h.http(t, "GET", getPath(viewerJSON), "", "If-None-Match", a.header.Get("ETag"))
			assert.Equal(t, http.StatusNotFound, a.status, "a copy grants nothing")
			assert.Equal(t, "FILM_NOT_FOUND", problemOf(t, a).reason())
			assert.Empty(t, a.header.Get("ETag"))
		})
	}
}

func TestWritesCannotBeGot(t *testing.T) {
	h := open(t, nil)
	a := h.http(t, "GET", "/theater.v1.CatalogService/CreateFilm?encoding=json&message=%7B%7D", "")
	assert.Equal(t, http.StatusMethodNotAllowed, a.status)
}

func TestGzip(t *testing.T) {
	h := open(t, nil)
	h.get = func(_ context.Context, req *pb.GetFilmRequest) (*pb.Film, error) {
		return &pb.Film{Name: req.Name, Tags: []string{strings.Repeat("long ", 1000)}}, nil
	}
	a := h.post(t, "CatalogService/GetFilm", `{"name":"films/a"}`, "Accept-Encoding", "gzip")
	require.Equal(t, "gzip", a.header.Get("Content-Encoding"))
	z, err := gzip.NewReader(strings.NewReader(a.body))
	require.NoError(t, err)
	plain, err := io.ReadAll(z)
	require.NoError(t, err)
	assert.Contains(t, string(plain), "long long")
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err = w.Write([]byte(`{"name":"films/a"}`))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	a = h.post(t, "CatalogService/GetFilm", packed.String(), "Content-Encoding", "gzip", "Accept-Encoding", "identity")
	assert.Equal(t, 200, a.status, a.body)
}

func TestStreamsOverConnect(t *testing.T) {
	h := open(t, nil)
	h.export = func(_ *pb.ExportFilmsRequest, s grpc.ServerStreamingServer[pb.ExportFilmsResponse]) error {
		for range 3 {
			if err := s.Send(&pb.ExportFilmsResponse{}); err != nil {
				return err
			}
		}
		return fault.New(fault.FailedPrecondition, pb.ErrorReason_RESUME_EXPIRED, "too old")
	}
	hc := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	c := connect.NewClient(connecthttp.NewTransport(hc, "http://"+h.server.Addresses().HTTP, connecthttp.WithProtoJSON()))
	s, err := c.CallServerStream(t.Context(), connect.Spec{Procedure: "/theater.v1.CatalogService/ExportFilms", StreamType: connect.StreamTypeServer}, &pb.ExportFilmsRequest{})
	require.NoError(t, err)
	defer func() { _ = s.Close() }()
	for range 3 {
		require.NoError(t, s.Receive(&pb.ExportFilmsResponse{}))
	}
	err = s.Receive(&pb.ExportFilmsResponse{})
	assert.Equal(t, connect.CodeFailedPrecondition, connect.CodeOf(err))
	assert.ErrorContains(t, err, "too old")
}

func TestCORSIsByList(t *testing.T) {
	h := open(t, func(c *edge.Config) { c.Origins = []string{"https://tv.example"} })
	h.get = func(context.Context, *pb.GetFilmRequest) (*pb.Film, error) { return &pb.Film{}, nil }
	preflight := func(origin string) answer {
		return h.http(t, "OPTIONS", "/theater.v1.CatalogService/GetFilm", "", "Origin", origin, "Access-Control-Request-Method", "POST")
	}
	good := preflight("https://tv.example")
	assert.Equal(t, http.StatusNoContent, good.status)
	assert.Equal(t, "https://tv.example", good.header.Get("Access-Control-Allow-Origin"))
	assert.Contains(t, good.header.Get("Access-Control-Allow-Headers"), "Authorization")
	assert.Empty(t, preflight("https://evil.example").header.Get("Access-Control-Allow-Origin"))
	a := h.post(t, "CatalogService/GetFilm", `{"name":"films/a"}`, "Origin", "https://tv.example")
	assert.Equal(t, "https://tv.example", a.header.Get("Access-Control-Allow-Origin"))
	assert.Contains(t, a.header.Get("Access-Control-Expose-Headers"), "Theater-Revision")
	assert.Contains(t, a.header.Values("Vary"), "Origin")
}

func TestWhatIsNoCallIsAnsweredToo(t *testing.T) {
	h := open(t, func(c *edge.Config) {
		c.Pages = map[string]http.Handler{"GET /posters/": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "art") })}
	})
	assert.Equal(t, "art", h.http(t, "GET", "/posters/a.svg", "").body)
	for _, c := range []struct {
		method, path, contentType string
		status                    int
		code                      string
	}{
		{"POST", "/theater.v1.CatalogService/Nope", "application/json", http.StatusNotImplemented, "unimplemented"},
		{"POST", "/nope.Service/Nope", "application/json", http.StatusNotFound, "unimplemented"},
		{"GET", "/", "", http.StatusNotFound, "unimplemented"},
		{"POST", "//theater.v1.CatalogService/GetFilm", "application/json", http.StatusNotFound, "unimplemented"},
		{"POST", "/theater.v1.CatalogService//GetFilm", "application/json", http.StatusNotFound, "unimplemented"},
		{"POST", "/x/../theater.v1.CatalogService/GetFilm", "application/json", http.StatusNotFound, "unimplemented"},
		{"POST", "/theater.v1.CatalogService", "application/json", http.StatusNotFound, "unimplemented"},
		{"GET", "//", "", http.StatusNotFound, "unimplemented"},
		{"POST", "/theater.v1.CatalogService/GetFilm", "text/plain", http.StatusUnsupportedMediaType, "invalid_argument"},
		{"DELETE", "/theater.v1.CatalogService/GetFilm", "", http.StatusMethodNotAllowed, "invalid_argument"},
	} {
		t.Run(c.method+c.path, func(t *testing.T) {
			a := h.http(t, c.method, c.path, "{}", "Content-Type", c.contentType)
			assert.Equal(t, c.status, a.status)
			p := problemOf(t, a)
			assert.Equal(t, c.code, p.Code)
			assert.NotNil(t, p.reason())
			assert.Empty(t, a.header.Get("Location"))
		})
	}
	for name, headers := range map[string][]string{
		"timeout":  {"Connect-Timeout-Ms", "soon"},
		"encoding": {"Content-Encoding", "lzma"},
		"protocol": {"Connect-Protocol-Version", "7"},
	} {
		a := h.post(t, "CatalogService/GetFilm", `{"name":"films/a"}`, headers...)
		assert.Equal(t, http.StatusBadRequest, a.status, name)
		assert.Equal(t, "invalid_argument", problemOf(t, a).Code, name)
		assert.Equal(t, "MALFORMED_REQUEST", problemOf(t, a).reason(), name)
	}
}

func TestNobodyIsToldHowToSayWho(t *testing.T) {
	static, err := auth.ParseStatic([]byte(`{"0123456789abcdef": {"id": "a", "roles": ["EDITOR"]}, "fedcba9876543210": {"id": "b", "roles": ["EDITOR"]}}`))
	require.NoError(t, err)
	h := open(t, func(c *edge.Config) { c.Auth = static })
	h.get = func(context.Context, *pb.GetFilmRequest) (*pb.Film, error) { return &pb.Film{}, nil }
	for name, c := range map[string]struct {
		tokens []string
		status int
	}{
		"none":      {nil, http.StatusUnauthorized},
		"unknown":   {[]string{"Bearer nobody"}, http.StatusUnauthorized},
		"one":       {[]string{"Bearer 0123456789abcdef"}, http.StatusOK},
		"two":       {[]string{"Bearer 0123456789abcdef", "Bearer fedcba9876543210"}, http.StatusUnauthorized},
		"one twice": {[]string{"Bearer 0123456789abcdef", "Bearer 0123456789abcdef"}, http.StatusUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+h.server.Addresses().HTTP+"/theater.v1.CatalogService/GetFilm", strings.NewReader(`{"name":"films/a"}`))
			require.NoError(t, err)
			req.Header["Authorization"] = c.tokens
			req.Header.Set("Content-Type", "application/json")
			resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			assert.Equal(t, c.status, resp.StatusCode)
			challenge := ""
			if c.status == http.StatusUnauthorized {
				challenge = "Bearer"
			}
			assert.Equal(t, challenge, resp.Header.Get("WWW-Authenticate"))
			md := metadata.MD{"authorization": c.tokens}
			_, err = pb.NewCatalogServiceClient(h.dial(t)).GetFilm(metadata.NewOutgoingContext(t.Context(), md), &pb.GetFilmRequest{Name: "films/a"})
			assert.Equal(t, c.status == http.StatusOK, err == nil, "%v", err)
		})
	}
}

func TestOpenAnswersToLocalNamesOnly(t *testing.T) {
	h := open(t, nil)
	h.get = func(context.Context, *pb.GetFilmRequest) (*pb.Film, error) { return &pb.Film{}, nil }
	for host, ok := range map[string]bool{"localhost": true, "localhost:8080": true, "127.0.0.1": true, "[::1]:1": true, "evil.example": false, "127.0.0.1.evil.example:80": false, "": true} {
		req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+h.server.Addresses().HTTP+"/theater.v1.CatalogService/GetFilm", strings.NewReader(`{"name":"films/a"}`))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/json")
		req.Host = host
		resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		assert.Equal(t, ok, resp.StatusCode == http.StatusOK, "%q: %d", host, resp.StatusCode)
		if !ok && host != "" {
			assert.Equal(t, http.StatusMisdirectedRequest, resp.StatusCode)
			assert.Equal(t, "PERMISSION_DENIED", problemOf(t, answer{resp.StatusCode, resp.Header, string(body)}).reason())
		}
	}
}
