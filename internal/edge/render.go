package edge

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"io"
	"regexp"
	"strings"

	"connectrpc.com/connect/v2"
	"github.com/maypok86/otter/v2"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
)

// renderedBytes bounds the memory of pages kept as JSON.
const renderedBytes = 32 << 20

// payload is a reply in its final form.
type payload []byte

// renderer gives replies their final form, and keeps that of encoded ones: turning a page
// into JSON costs many times what serving it does. The key is the page itself, so an entry
// can never be stale.
type renderer struct {
	pages *otter.Cache[uint64, *rendered]
	seed  maphash.Seed
}

type rendered struct {
	wire []byte
	json payload
	tag  string
}

func newRenderer() (*renderer, error) {
	pages, err := otter.New(&otter.Options[uint64, *rendered]{
		MaximumWeight: renderedBytes,
		Weigher:       func(_ uint64, r *rendered) uint32 { return uint32(len(r.wire) + len(r.json) + 200) },
	})
	if err != nil {
		return nil, err
	}
	return &renderer{pages: pages, seed: maphash.MakeSeed()}, nil
}

// reply gives what a codec shall send.
func (r *renderer) reply(codec string, reply any) (any, error) {
	e, ok := reply.(encoded)
	if !ok {
		return reply, nil
	}
	if codec == connect.CodecNameProto {
		return payload(e.Wire()), nil
	}
	p, err := r.page(e)
	if err != nil {
		return nil, err
	}
	return p.json, nil
}

// tagged also gives the reply's entity tag. It is weak, because the same reply may go out
// compressed.
func (r *renderer) tagged(codec string, reply any) (any, string, error) {
	if e, ok := reply.(encoded); ok {
		if codec == connect.CodecNameProto {
			return payload(e.Wire()), etag(codec, e.Wire()), nil
		}
		p, err := r.page(e)
		if err != nil {
			return nil, "", err
		}
		return p.json, p.tag, nil
	}
	m, ok := reply.(proto.Message)
	if !ok {
		return nil, "", fmt.Errorf("reply %T is no protobuf message", reply)
	}
	wire, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, "", err
	}
	if codec == connect.CodecNameProto {
		return payload(wire), etag(codec, wire), nil
	}
	return reply, etag(codec, wire), nil
}

func (r *renderer) page(e encoded) (*rendered, error) {
	wire := e.Wire()
	key := maphash.Bytes(r.seed, wire)
	if p, ok := r.pages.GetIfPresent(key); ok && bytes.Equal(p.wire, wire) {
		return p, nil
	}
	m, err := e.Message()
	if err != nil {
		return nil, err
	}
	text, err := marshalJSON(m)
	if err != nil {
		return nil, err
	}
	p := &rendered{wire: wire, json: text, tag: etag(connect.CodecNameJSON, wire)}
	r.pages.Set(key, p)
	return p, nil
}

func etag(codec string, wire []byte) string {
	h := sha256.New()
	h.Write([]byte(codec))
	h.Write(wire)
	return `W/"` + base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16]) + `"`
}

// marshalJSON is protojson without its deliberately unstable white space.
func marshalJSON(m proto.Message) (payload, error) {
	text, err := protojson.Marshal(m)
	if err != nil {
		return nil, err
	}
	var compact bytes.Buffer
	compact.Grow(len(text))
	if err := json.Compact(&compact, text); err != nil {
		return nil, err
	}
	return compact.Bytes(), nil
}

// binaryCodec is protobuf on the HTTP port.
type binaryCodec struct{}

func (binaryCodec) Name() string { return connect.CodecNameProto }

func (binaryCodec) MarshalWrite(_ context.Context, dst io.Writer, m any) error {
	b, ok := m.(payload)
	if !ok {
		var err error
		if b, err = marshalWire(m); err != nil {
			return err
		}
	}
	_, err := dst.Write(b)
	return err
}

func marshalWire(m any) ([]byte, error) {
	switch m := m.(type) {
	case encoded:
		return m.Wire(), nil
	case proto.Message:
		return proto.Marshal(m)
	}
	return nil, fmt.Errorf("%T is no protobuf message", m)
}

func (binaryCodec) UnmarshalRead(_ context.Context, src io.Reader, m any) error {
	b, err := io.ReadAll(src)
	if err != nil {
		return err
	}
	into, err := messageOf(m)
	if err != nil {
		return err
	}
	if err := proto.Unmarshal(b, into); err != nil {
		return notWellFormed(err)
	}
	return nil
}

// messageOf gives the message that is to be received.
func messageOf(m any) (proto.Message, error) {
	if in, ok := m.(*inbox); ok {
		m = in.message
	}
	if into, ok := m.(proto.Message); ok {
		return into, nil
	}
	return nil, fmt.Errorf("%T is no protobuf message", m)
}

// jsonCodec is strict JSON: an unknown field or enum name is an error, not a default.
type jsonCodec struct{}

func (jsonCodec) Name() string { return connect.CodecNameJSON }

func (jsonCodec) MarshalWrite(_ context.Context, dst io.Writer, m any) error {
	b, ok := m.(payload)
	if !ok {
		if e, ok := m.(encoded); ok {
			decoded, err := e.Message()
			if err != nil {
				return err
			}
			m = decoded
		}
		message, ok := m.(proto.Message)
		if !ok {
			return fmt.Errorf("%T is no protobuf message", m)
		}
		var err error
		if b, err = marshalJSON(message); err != nil {
			return err
		}
	}
	_, err := dst.Write(b)
	return err
}

func (jsonCodec) UnmarshalRead(_ context.Context, src io.Reader, m any) error {
	b, err := io.ReadAll(src)
	if err != nil {
		return err
	}
	into, err := messageOf(m)
	if err != nil {
		return err
	}
	if len(b) == 0 {
		return notWellFormed(io.ErrUnexpectedEOF)
	}
	if err := protojson.Unmarshal(b, into); err != nil {
		return notWellFormed(err)
	}
	return nil
}

// protoPrefix is how protobuf's errors begin; the space after it varies on purpose.
var protoPrefix = regexp.MustCompile(`^proto:[\s\x{00a0}]*`)

func notWellFormed(err error) error {
	text := protoPrefix.ReplaceAllString(strings.ToValidUTF8(err.Error(), "�"), "")
	return &fault.Error{
		Kind: fault.InvalidArgument, Reason: pb.ErrorReason_MALFORMED_REQUEST,
		Message: "request: " + text, Fields: []fault.Field{{Path: "request", Rule: text}},
	}
}
