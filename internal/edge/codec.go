package edge

import (
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec we fall back to
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// encoded is a reply that is already in wire form. Nobody may change the bytes afterwards.
type encoded interface {
	Wire() []byte
	// Message decodes the reply, for protocols that do not speak the wire form.
	Message() (proto.Message, error)
}

// codec hands encoded replies to the transport as they are, and everything else to the
// proto codec of grpc-go.
type codec struct{ base encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2("proto")} }

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if e, ok := v.(encoded); ok {
		return mem.BufferSlice{mem.SliceBuffer(e.Wire())}, nil
	}
	return c.base.Marshal(v)
}

func (c codec) Unmarshal(data mem.BufferSlice, v any) error { return c.base.Unmarshal(data, v) }

// Name is what clients ask for.
func (codec) Name() string { return "proto" }
