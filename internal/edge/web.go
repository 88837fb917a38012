package edge

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
)

// web serves handlers of grpc-go over plain HTTP: Connect (JSON and protobuf, GET for
// reads) and gRPC-Web, from the same generated code and behind the same door.
type web struct {
	server *connect.Server
	render *renderer
	gzip   *compressor
	log    *slog.Logger
}

func newWeb(log *slog.Logger) (*web, error) {
	render, err := newRenderer()
	if err != nil {
		return nil, err
	}
	gzip, err := newCompressor()
	if err != nil {
		return nil, err
	}
	w := &web{server: connect.NewServer(), render: render, gzip: gzip, log: log}
	w.server.SetUnknownHandler(func(ctx context.Context, _ connect.Spec, _ connect.ServerStream) error {
		reached(ctx)
		return toConnect(unknownMethod())
	})
	return w, nil
}

func unknownMethod() error {
	return Status(fault.New(fault.Unimplemented, pb.ErrorReason_UNKNOWN_METHOD, "no such method")).Err()
}

// mount puts the methods on mux.
func (w *web) mount(mux *http.ServeMux, maxMessage int) {
	connecthttp.Mount(mux, w.server,
		connecthttp.WithCodecs(binaryCodec{}, jsonCodec{}),
		connecthttp.WithCompressors(w.gzip),
		connecthttp.WithReadMaxBytes(maxMessage),
		connecthttp.WithCompressMinBytes(1<<10))
}

func specOf(d protoreflect.MethodDescriptor, name string) connect.Spec {
	spec := connect.Spec{Procedure: name, Schema: d}
	if options, ok := d.Options().(*descriptorpb.MethodOptions); ok {
		spec.IdempotencyLevel = connect.IdempotencyLevel(options.GetIdempotencyLevel())
	}
	switch {
	case d.IsStreamingClient() && d.IsStreamingServer():
		spec.StreamType = connect.StreamTypeBidi
	case d.IsStreamingClient():
		spec.StreamType = connect.StreamTypeClient
	case d.IsStreamingServer():
		spec.StreamType = connect.StreamTypeServer
	}
	return spec
}

// unary registers a unary handler that is already behind the door.
func (w *web) unary(spec connect.Spec, srv any, handler grpc.MethodHandler) {
	w.server.Register(connect.Method{Spec: spec, Handler: func(ctx context.Context, _ connect.Spec, s connect.ServerStream) error {
		c := reached(ctx)
		info, _ := connect.CallInfoForServerContext(ctx)
		ctx = incoming(ctx, info, spec.Procedure)
		reply, err := handler(srv, ctx, func(m any) error {
			return c.receiving.walk(func() error { return received(s.Receive(m)) })
		}, nil)
		c.receiving.end(c.stopReading)
		if err != nil {
			return toConnect(err)
		}
		if http, ok := info.TransportInfo.(*connecthttp.ServerInfo); ok && http.HTTPMethod() == "GET" {
			return w.cacheable(ctx, info, s, reply)
		}
		out, err := w.render.reply(info.Codec, reply)
		if err != nil {
			return w.broken(ctx, spec, err)
		}
		return s.Send(out)
	}})
}

// cacheable answers a GET. The ETag is over what the gate let through just now, so that a
// client whose copy still holds is spared the bytes and never the gate.
func (w *web) cacheable(ctx context.Context, info *connect.CallInfo, s connect.ServerStream, reply any) error {
	out, tag, err := w.render.tagged(info.Codec, reply)
	if err != nil {
		return w.broken(ctx, info.Spec, err)
	}
	h := info.ResponseHeader()
	h.Set("Cache-Control", "private, no-cache")
	h.Add("Vary", "Authorization")
	h.Set("ETag", tag)
	if matches(info.RequestHeader().Values("If-None-Match"), tag) {
		return connecthttp.NewNotModifiedError()
	}
	return s.Send(out)
}

// broken is the answer where a reply of our own cannot be rendered.
func (w *web) broken(ctx context.Context, spec connect.Spec, err error) error {
	w.log.LogAttrs(ctx, slog.LevelError, "reply cannot be rendered", slog.String("method", spec.Procedure), slog.Any("error", err))
	return toConnect(Status(&fault.Error{Kind: fault.Internal}).Err())
}

// matches compares as RFC 9110 asks of If-None-Match: weakly.
func matches(wanted []string, tag string) bool {
	for _, line := range wanted {
		for w := range strings.SplitSeq(line, ",") {
			if w = strings.TrimSpace(w); w == "*" || strings.TrimPrefix(w, "W/") == strings.TrimPrefix(tag, "W/") {
				return true
			}
		}
	}
	return false
}

// stream registers a streaming handler that is already behind the door.
func (w *web) stream(spec connect.Spec, srv any, handler grpc.StreamHandler) {
	w.server.Register(connect.Method{Spec: spec, Handler: func(ctx context.Context, _ connect.Spec, s connect.ServerStream) error {
		c := reached(ctx)
		info, _ := connect.CallInfoForServerContext(ctx)
		return toConnect(handler(srv, &webStream{ServerStream: s, ctx: incoming(ctx, info, spec.Procedure), response: c}))
	}})
}

// incoming gives handlers the metadata, peer and header hooks they know from grpc-go.
func incoming(ctx context.Context, info *connect.CallInfo, procedure string) context.Context {
	md := metadata.MD{}
	for k, v := range info.RequestHeader().All() {
		md[strings.ToLower(k)] = v
	}
	p := &peer.Peer{Addr: address(info.PeerAddr)}
	if http, ok := info.TransportInfo.(*connecthttp.ServerInfo); ok && http.TLS() != nil {
		p.AuthInfo = credentials.TLSInfo{State: *http.TLS()}
	}
	ctx = peer.NewContext(metadata.NewIncomingContext(ctx, md), p)
	return grpc.NewContextWithServerTransportStream(ctx, headers{info, procedure})
}

type address string

func (address) Network() string  { return "tcp" }
func (a address) String() string { return string(a) }

// headers is what grpc.SetHeader and grpc.SetTrailer reach over HTTP.
type headers struct {
	info   *connect.CallInfo
	method string
}

func (h headers) Method() string                  { return h.method }
func (h headers) SetHeader(md metadata.MD) error  { add(h.info.ResponseHeader(), md); return nil }
func (h headers) SendHeader(md metadata.MD) error { return h.SetHeader(md) }
func (h headers) SetTrailer(md metadata.MD) error { add(h.info.ResponseTrailer(), md); return nil }

func add(h *connect.Header, md metadata.MD) {
	for k, values := range md {
		for _, v := range values {
			h.Add(k, v)
		}
	}
}

// webStream is a stream of connect as handlers know streams from grpc-go.
type webStream struct {
	connect.ServerStream
	ctx      context.Context
	response *completed
}

func (s *webStream) Context() context.Context { return s.ctx }
func (s *webStream) SendMsg(m any) error {
	return s.response.sending.walk(func() error { return s.Send(m) })
}
func (s *webStream) RecvMsg(m any) error {
	return s.response.receiving.walk(func() error { return received(s.Receive(m)) })
}
func (s *webStream) SetHeader(md metadata.MD) error { return grpc.SetHeader(s.ctx, md) }
func (s *webStream) SetTrailer(md metadata.MD)      { _ = grpc.SetTrailer(s.ctx, md) } // headers cannot fail
func (s *webStream) SendHeader(md metadata.MD) error {
	return s.response.sending.walk(func() error {
		if err := s.SetHeader(md); err != nil {
			return err
		}
		return s.SendHeaders()
	})
}

// end waits until nobody uses the stream any more, and sees to it that this is soon.
func (s *webStream) end() {
	s.response.sending.end(s.response.stopWriting)
	s.response.receiving.end(s.response.stopReading)
}

// received makes the errors of connect in receiving a message those of grpc-go, which the
// door knows. Faults of our own codecs come through as they are.
func received(err error) error {
	if err == nil || errors.Is(err, io.EOF) || fault.As(err) != nil {
		return err
	}
	return status.Error(codes.Code(connect.CodeOf(err)), err.Error())
}

// toConnect keeps the code, message and details of a status. Details also say what they are
// in JSON, for clients that speak no protobuf.
func toConnect(err error) error {
	if err == nil {
		return nil
	}
	st := status.Convert(err)
	out := connect.NewError(connect.Code(st.Code()), st.Message())
	for _, d := range st.Proto().GetDetails() {
		detail := &connect.ErrorDetail{Type: d.GetTypeUrl()[strings.LastIndexByte(d.GetTypeUrl(), '/')+1:], Value: d.GetValue()}
		if m, err := d.UnmarshalNew(); err == nil {
			detail.Debug, _ = protojson.Marshal(m) // best effort, as the protocol has it
		}
		out = out.WithDetail(detail)
	}
	return out
}
