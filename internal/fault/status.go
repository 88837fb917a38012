package fault

import (
	"context"
	"errors"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/aitheater/theater/api/theater/v1"
)

// Domain is google.rpc.ErrorInfo.domain of every error.
const Domain = "theater"

// defaultRetry is the RetryInfo of an error that says no other.
const defaultRetry = time.Second

var codes = map[Kind]code.Code{
	Internal:           code.Code_INTERNAL,
	InvalidArgument:    code.Code_INVALID_ARGUMENT,
	NotFound:           code.Code_NOT_FOUND,
	AlreadyExists:      code.Code_ALREADY_EXISTS,
	Aborted:            code.Code_ABORTED,
	FailedPrecondition: code.Code_FAILED_PRECONDITION,
	Unauthenticated:    code.Code_UNAUTHENTICATED,
	PermissionDenied:   code.Code_PERMISSION_DENIED,
	ResourceExhausted:  code.Code_RESOURCE_EXHAUSTED,
	Unavailable:        code.Code_UNAVAILABLE,
	DeadlineExceeded:   code.Code_DEADLINE_EXCEEDED,
	Cancelled:          code.Code_CANCELLED,
	Unimplemented:      code.Code_UNIMPLEMENTED,
}

// Status is how err looks to a client, as google.rpc.Status: a message of the schema, no
// transport. It is the one mapping: package edge sends it as the answer of a call, and
// ImportFilms inside its results. What is not an *Error says nothing but INTERNAL.
func Status(err error) *status.Status {
	e := As(err)
	switch {
	case e != nil:
	case errors.Is(err, context.DeadlineExceeded):
		e = New(DeadlineExceeded, pb.ErrorReason_DEADLINE_EXCEEDED, "the deadline passed")
	case errors.Is(err, context.Canceled):
		e = New(Cancelled, pb.ErrorReason_CANCELLED, "the caller went away")
	default:
		e = New(Internal, pb.ErrorReason_INTERNAL, "internal error; the trace id in the headers finds it")
	}
	st := &status.Status{Code: int32(codes[e.Kind]), Message: e.Message}
	for _, detail := range e.details() {
		packed, err := anypb.New(detail)
		if err != nil { // a text that is not UTF-8: the code and message still go out
			continue
		}
		st.Details = append(st.Details, packed)
	}
	return st
}

func (e *Error) details() []proto.Message {
	out := []proto.Message{&errdetails.ErrorInfo{Reason: e.Reason.String(), Domain: Domain, Metadata: e.Metadata}}
	if len(e.Fields) > 0 {
		bad := &errdetails.BadRequest{}
		for _, f := range e.Fields {
			bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{Field: f.Path, Description: f.Rule})
		}
		out = append(out, bad)
	}
	if len(e.Violations) > 0 {
		unmet := &errdetails.PreconditionFailure{}
		for _, v := range e.Violations {
			unmet.Violations = append(unmet.Violations, &errdetails.PreconditionFailure_Violation{Type: v.Rule, Subject: v.Subject, Description: v.Description})
		}
		out = append(out, unmet)
	}
	if e.Kind == ResourceExhausted || e.Kind == Unavailable {
		after := e.RetryAfter
		if after <= 0 {
			after = defaultRetry
		}
		out = append(out, &errdetails.RetryInfo{RetryDelay: durationpb.New(after)})
	}
	return out
}
