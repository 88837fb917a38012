package edge

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
)

// domain is the ErrorInfo domain of all our errors.
const domain = "theater"

// Errors travel in HTTP/2 headers, and some clients take no more than 8 KiB of these. So a
// message is cut at maxText bytes and details end at maxDetails.
const (
	maxText    = 512
	maxDetails = 3 << 10
)

// defaultRetry is how soon a client may come back when a fault does not say.
const defaultRetry = time.Second

// kinds is the translation of fault kinds; there is no other.
var kinds = [...]struct {
	code   codes.Code
	reason pb.ErrorReason // for faults that name none
}{
	fault.Internal:           {codes.Internal, pb.ErrorReason_INTERNAL},
	fault.InvalidArgument:    {codes.InvalidArgument, pb.ErrorReason_MALFORMED_REQUEST},
	fault.NotFound:           {codes.NotFound, pb.ErrorReason_RESOURCE_NOT_FOUND},
	fault.AlreadyExists:      {codes.AlreadyExists, pb.ErrorReason_ALREADY_EXISTS},
	fault.Aborted:            {codes.Aborted, pb.ErrorReason_ETAG_MISMATCH},
	fault.FailedPrecondition: {codes.FailedPrecondition, pb.ErrorReason_WRONG_STATE},
	fault.Unauthenticated:    {codes.Unauthenticated, pb.ErrorReason_UNAUTHENTICATED},
	fault.PermissionDenied:   {codes.PermissionDenied, pb.ErrorReason_PERMISSION_DENIED},
	fault.ResourceExhausted:  {codes.ResourceExhausted, pb.ErrorReason_OVERLOADED},
	fault.Unavailable:        {codes.Unavailable, pb.ErrorReason_REPLICA_NOT_READY},
	fault.DeadlineExceeded:   {codes.DeadlineExceeded, pb.ErrorReason_DEADLINE_EXCEEDED},
	fault.Cancelled:          {codes.Canceled, pb.ErrorReason_CANCELLED},
	fault.Unimplemented:      {codes.Unimplemented, pb.ErrorReason_UNKNOWN_METHOD},
}

// faultOf names what went wrong: the *fault.Error in err's chain, the end of the call's own
// context, or else an Internal fault whose cause is err. It is never nil.
func faultOf(ctx context.Context, err error) *fault.Error {
	if f := fault.As(err); f != nil {
		return f
	}
	switch {
	case errors.Is(context.Cause(ctx), errDraining):
		return &fault.Error{Kind: fault.Unavailable, Reason: pb.ErrorReason_REPLICA_NOT_READY, Message: errDraining.Error(), Cause: err}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(ctx.Err(), context.DeadlineExceeded):
		return &fault.Error{Kind: fault.DeadlineExceeded, Reason: pb.ErrorReason_DEADLINE_EXCEEDED, Message: "the deadline passed", Cause: err}
	case errors.Is(err, context.Canceled), ctx.Err() != nil:
		return &fault.Error{Kind: fault.Cancelled, Reason: pb.ErrorReason_CANCELLED, Message: "the call was cancelled", Cause: err}
	case status.Code(err) == codes.Unimplemented: // what generated code says of a method without a handler
		return &fault.Error{Kind: fault.Unimplemented, Reason: pb.ErrorReason_UNKNOWN_METHOD, Message: "no such method"}
	}
	return &fault.Error{Kind: fault.Internal, Reason: pb.ErrorReason_INTERNAL, Cause: err}
}

// Status is THE mapping from faults to the wire. The cause is never sent, and the text of an
// Internal fault neither.
func Status(f *fault.Error) *status.Status {
	kind := f.Kind
	if int(kind) >= len(kinds) {
		kind = fault.Internal
	}
	k := kinds[kind]
	if kind == fault.Internal {
		st, err := status.New(k.code, "internal error").WithDetails(&errdetails.ErrorInfo{Reason: k.reason.String(), Domain: domain})
		if err != nil {
			return status.New(k.code, "internal error")
		}
		return st
	}
	reason := f.Reason
	if reason == pb.ErrorReason_ERROR_REASON_UNSPECIFIED {
		reason = k.reason
	}
	d := details{room: maxDetails}
	info := &errdetails.ErrorInfo{Reason: reason.String(), Domain: domain, Metadata: map[string]string{}}
	for key, value := range f.Metadata {
		info.Metadata[clean(key)] = clean(value)
	}
	d.add(info)
	if kind == fault.ResourceExhausted || kind == fault.Unavailable {
		after := f.RetryAfter
		if after <= 0 {
			after = defaultRetry
		}
		d.add(&errdetails.RetryInfo{RetryDelay: durationpb.New(after)})
	}
	d.add(badRequest(f.Fields, d.room))
	d.add(preconditions(f.Violations, d.room))
	st, err := status.New(k.code, clean(f.Message)).WithDetails(d.list...)
	if err != nil {
		return status.New(k.code, clean(f.Message))
	}
	return st
}

type details struct {
	list []protoadapt.MessageV1
	room int
}

func (d *details) add(m proto.Message) {
	if m == nil {
		return
	}
	d.list = append(d.list, protoadapt.MessageV1Of(m))
	d.room -= proto.Size(m)
}

func badRequest(fields []fault.Field, room int) proto.Message {
	if len(fields) == 0 {
		return nil
	}
	out := &errdetails.BadRequest{}
	for i, f := range fields {
		v := &errdetails.BadRequest_FieldViolation{Field: clean(f.Path), Description: clean(f.Rule)}
		if room -= proto.Size(v) + 4; room < 0 {
			v = &errdetails.BadRequest_FieldViolation{Description: more(len(fields) - i)}
			out.FieldViolations = append(out.FieldViolations, v)
			break
		}
		out.FieldViolations = append(out.FieldViolations, v)
	}
	return out
}

func preconditions(violations []fault.Violation, room int) proto.Message {
	if len(violations) == 0 {
		return nil
	}
	out := &errdetails.PreconditionFailure{}
	for i, f := range violations {
		v := &errdetails.PreconditionFailure_Violation{Type: clean(f.Rule), Subject: clean(f.Subject), Description: clean(f.Description)}
		if room -= proto.Size(v) + 4; room < 0 {
			v = &errdetails.PreconditionFailure_Violation{Description: more(len(violations) - i)}
			out.Violations = append(out.Violations, v)
			break
		}
		out.Violations = append(out.Violations, v)
	}
	return out
}

func more(n int) string { return "and " + strconv.Itoa(n) + " more" }

// clean makes text fit for a header: valid UTF-8, of bounded length.
func clean(s string) string {
	if len(s) > maxText {
		s = s[:maxText] + "…"
	}
	return strings.ToValidUTF8(s, "�")
}

// serverFault reports whether a status code blames the server, as the semantic conventions
// for RPC count it.
func serverFault(c codes.Code) bool {
	switch c {
	case codes.Unknown, codes.DeadlineExceeded, codes.Unimplemented, codes.Internal, codes.Unavailable, codes.DataLoss:
		return true
	}
	return false
}
