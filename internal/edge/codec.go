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

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	if in, ok := v.(*inbox); ok {
		in.err = c.base.Unmarshal(data, in.message)
		return nil
	}
	return c.base.Unmarshal(data, v)
}

// inbox is what a message is received into. grpc-go answers a message that does not decode
// by itself, and with INTERNAL; so it is told that all is well, and the door, which finds
// the error here, answers what is true.
type inbox struct {
	message any
	err     error
}

// receive receives a message by way of the inbox.
func (in *inbox) receive(message any, receive func(any) error) error {
	in.message = message
	if err := receive(in); err != nil {
		return malformed(err)
	}
	if in.err != nil {
		return malformed(in.err)
	}
	return nil
}

// Name is what clients ask for.
func (codec) Name() string { return "proto" }
