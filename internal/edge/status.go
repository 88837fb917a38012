package edge

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
)

// faultOf names what went wrong: the *fault.Error in err's chain, the end of the call's own
// context, or else an Internal fault whose cause is err. It is never nil.
func faultOf(ctx context.Context, err error) *fault.Error {
	f, stopping := fault.As(err), errors.Is(context.Cause(ctx), errDraining)
	if f != nil && (f.Kind != fault.Cancelled || !stopping) {
		return f
	}
	switch {
	case stopping: // the rooms only see that their context ended, and may take the caller for gone
		return &fault.Error{Kind: fault.Unavailable, Reason: pb.ErrorReason_REPLICA_NOT_READY, Message: errDraining.Error()}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(ctx.Err(), context.DeadlineExceeded):
		return &fault.Error{Kind: fault.DeadlineExceeded, Reason: pb.ErrorReason_DEADLINE_EXCEEDED, Message: "the deadline passed", Cause: err}
	case errors.Is(err, context.Canceled), ctx.Err() != nil:
		return &fault.Error{Kind: fault.Cancelled, Reason: pb.ErrorReason_CANCELLED, Message: "the call was cancelled", Cause: err}
	case status.Code(err) == codes.Unimplemented: // what generated code says of a method without a handler
		return &fault.Error{Kind: fault.Unimplemented, Reason: pb.ErrorReason_UNKNOWN_METHOD, Message: "no such method"}
	}
	return &fault.Error{Kind: fault.Internal, Reason: pb.ErrorReason_INTERNAL, Cause: err}
}

// Status is a fault as grpc-go sends it; the mapping is fault.Status.
func Status(f *fault.Error) *status.Status { return status.FromProto(fault.Status(f)) }

// serverFault reports whether a status code blames the server, as the semantic conventions
// for RPC count it.
func serverFault(c codes.Code) bool {
	switch c {
	case codes.Unknown, codes.DeadlineExceeded, codes.Unimplemented, codes.Internal, codes.Unavailable, codes.DataLoss:
		return true
	}
	return false
}
