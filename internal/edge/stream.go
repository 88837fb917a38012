package edge

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
)

// stream is a stream inside the door: its context has the caller and ends when the server
// drains, and what it receives is valid.
type stream struct {
	grpc.ServerStream
	ctx  context.Context
	door *door
	// interruptible is set where the client may keep us waiting for its next message.
	interruptible bool
}

func (s *stream) Context() context.Context { return s.ctx }

func (s *stream) RecvMsg(m any) error {
	err := new(inbox).receive(m, func(in any) error {
		if s.interruptible {
			return receive(s.ctx, s.ServerStream, in)
		}
		return s.ServerStream.RecvMsg(in)
	})
	if err != nil {
		return err
	}
	return s.door.validate(m)
}

// receive waits for a message or for the end of ctx, which the transport alone would not
// notice while its client is silent. The goroutine ends with the handler at the latest,
// because that ends the transport's stream (leg.go for HTTP).
func receive(ctx context.Context, s grpc.ServerStream, m any) error {
	got := make(chan error, 1)
	go func() { got <- s.RecvMsg(m) }()
	select {
	case err := <-got:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// malformed is the fault behind an error in receiving a message: a transport calls INTERNAL
// what the client did, such as a message that is not protobuf or strings that are not UTF-8.
func malformed(err error) error {
	if f := fault.As(err); f != nil {
		return f
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.EOF) {
		return err
	}
	st, _ := status.FromError(err)
	switch st.Code() {
	case codes.Canceled:
		return context.Canceled
	case codes.DeadlineExceeded:
		return context.DeadlineExceeded
	case codes.ResourceExhausted:
		return &fault.Error{Kind: fault.ResourceExhausted, Reason: pb.ErrorReason_TOO_LARGE, Message: "the message is larger than this server takes", Cause: err}
	}
	return &fault.Error{Kind: fault.InvalidArgument, Reason: pb.ErrorReason_MALFORMED_REQUEST, Message: "the request is not well-formed", Cause: err}
}

// ending lets a handler that knows nothing of draining end with it.
func (d *door) ending(next grpc.StreamHandler) grpc.StreamHandler {
	return func(srv any, s grpc.ServerStream) error {
		ctx, end := context.WithCancelCause(s.Context())
		defer end(nil)
		defer context.AfterFunc(d.draining, func() { end(errDraining) })()
		err := next(srv, &bareStream{ServerStream: s, ctx: ctx})
		if errors.Is(context.Cause(ctx), errDraining) {
			return Status(faultOf(ctx, errDraining)).Err()
		}
		return err
	}
}

// bareStream is a stream of a service that is not ours.
type bareStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *bareStream) Context() context.Context { return s.ctx }
func (s *bareStream) RecvMsg(m any) error      { return receive(s.ctx, s.ServerStream, m) }
