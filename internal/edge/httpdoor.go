package edge

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"path"
	"strings"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
)

// bodyLimit is the longest a unary request's body may take, and replyLimit its reply.
const (
	bodyLimit  = 30 * time.Second
	replyLimit = 60 * time.Second
)

type completedKey struct{}

// reached notes that a call got as far as our handlers, whose errors are complete, and gives
// its response.
func reached(ctx context.Context) *completed {
	c, _ := ctx.Value(completedKey{}).(*completed) // httpDoor is before all of them
	c.reached = true
	return c
}

// httpDoor is what every call of the HTTP port passes before the RPC protocols: it bounds
// the time of bodies, keeps everything out of caches that does not say otherwise, and gives
// the errors of net/http and of the protocol itself the form of ours.
func httpDoor(next http.Handler, streaming map[string]bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if !streaming[r.URL.Path] {
			// Best effort: without deadlines the connection's own limits still hold.
			c := http.NewResponseController(w)
			_ = c.SetReadDeadline(time.Now().Add(bodyLimit))
			_ = c.SetWriteDeadline(time.Now().Add(replyLimit))
		}
		out := &completed{ResponseWriter: w}
		next.ServeHTTP(out, r.WithContext(context.WithValue(r.Context(), completedKey{}, out)))
		out.finish()
	})
}

// completed is a response whose errors are completed on the way out.
type completed struct {
	http.ResponseWriter
	reached bool
	// refused is the status of an error that did not come from our handlers, and text what
	// was to be its body.
	refused int
	text    []byte
	// receiving and sending are what our handlers do with the connection.
	receiving, sending leg
}

// Unwrap is for http.ResponseController.
func (c *completed) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// Flush is for streams.
func (c *completed) Flush() {
	if f, ok := c.ResponseWriter.(http.Flusher); ok && c.refused == 0 {
		f.Flush()
	}
}

func (c *completed) WriteHeader(code int) {
	h := c.Header()
	if h.Get("Cache-Control") == "" || code >= 400 {
		h.Set("Cache-Control", "no-store")
	}
	if code == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", "Bearer")
	}
	if code >= 300 && !c.reached {
		c.refused = code
		if code < 400 { // to a path that is nearly ours: calls are not redirected
			h.Del("Location")
			c.refused = http.StatusNotFound
		}
		return
	}
	c.ResponseWriter.WriteHeader(code)
}

func (c *completed) Write(b []byte) (int, error) {
	if c.refused == 0 {
		if c.Header().Get("Cache-Control") == "" {
			c.Header().Set("Cache-Control", "no-store")
		}
		return c.ResponseWriter.Write(b)
	}
	if len(c.text) < fault.MaxText {
		c.text = append(c.text, b[:min(len(b), fault.MaxText)]...)
	}
	return len(b), nil
}

// finish writes the error that was held back, as the Connect protocol writes errors.
func (c *completed) finish() {
	if c.refused == 0 {
		return
	}
	var problem struct {
		Code    connect.Code `json:"code"`
		Message string       `json:"message"`
	}
	if json.Unmarshal(c.text, &problem) != nil || problem.Code == 0 {
		problem.Code, problem.Message = connect.CodeInvalidArgument, http.StatusText(c.refused)
		if c.refused == http.StatusNotFound {
			problem.Code = connect.CodeUnimplemented
		}
	}
	reason := pb.ErrorReason_MALFORMED_REQUEST
	switch {
	case c.refused == http.StatusNotFound:
		reason = pb.ErrorReason_UNKNOWN_METHOD
	case problem.Code == connect.CodeResourceExhausted:
		reason = pb.ErrorReason_TOO_LARGE
	case problem.Code == connect.CodeUnimplemented: // an encoding we do not speak
		problem.Code, c.refused = connect.CodeInvalidArgument, http.StatusBadRequest
	}
	refuse(c.ResponseWriter, c.refused, problem.Code, reason, "request: "+problem.Message)
}

// refuse writes an error as the Connect protocol writes errors.
func refuse(w http.ResponseWriter, status int, code connect.Code, reason pb.ErrorReason, message string) {
	info := &errdetails.ErrorInfo{Reason: reason.String(), Domain: fault.Domain}
	value, _ := proto.Marshal(info)     // a message of three valid strings
	debug, _ := protojson.Marshal(info) // likewise
	body, _ := json.Marshal(map[string]any{
		"code": code, "message": fault.Clean(message),
		"details": []any{map[string]any{"type": string(proto.MessageName(info)), "value": connect.EncodeBinaryHeader(value), "debug": json.RawMessage(debug)}},
	})
	h := w.Header()
	h.Del("Content-Encoding")
	h.Del("Content-Length")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may be gone
}

// local refuses requests that name a host other than this machine: where everyone is ADMIN,
// a web page of anyone's that gives its own name this machine's address must not get in.
func local(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if !loopback(net.JoinHostPort(strings.Trim(host, "[]"), "0")) {
			refuse(w, http.StatusMisdirectedRequest, connect.CodePermissionDenied, pb.ErrorReason_PERMISSION_DENIED, "this service is open to its own machine only")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// unredirected sends requests for a path with needless slashes or dots to door, which answers
// that there is no such method, where mux would redirect: a client that posts does not
// expect that, and could not tell it from an answer.
func unredirected(mux, door http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p, clean := r.URL.Path, path.Clean(r.URL.Path); p != clean && (clean == "/" || strings.TrimSuffix(p, "/") != clean) {
			door.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}
