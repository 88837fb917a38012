package fault

import (
	"context"
	"errors"
	"strconv"
	"strings"
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

// MaxText is how many bytes of a text go out: errors travel in HTTP/2 headers, and some
// clients take no more than 8 KiB of these.
const MaxText = 512

// maxDetails is where the details of an error end, in bytes.
const maxDetails = 3 << 10

// defaultRetry is how soon a client may come back when a fault does not say.
const defaultRetry = time.Second

// kinds is the translation of kinds; there is no other.
var kinds = [...]struct {
	code   code.Code
	reason pb.ErrorReason // for faults that name none
}{
	Internal:           {code.Code_INTERNAL, pb.ErrorReason_INTERNAL},
	InvalidArgument:    {code.Code_INVALID_ARGUMENT, pb.ErrorReason_MALFORMED_REQUEST},
	NotFound:           {code.Code_NOT_FOUND, pb.ErrorReason_RESOURCE_NOT_FOUND},
	AlreadyExists:      {code.Code_ALREADY_EXISTS, pb.ErrorReason_ALREADY_EXISTS},
	Aborted:            {code.Code_ABORTED, pb.ErrorReason_ETAG_MISMATCH},
	FailedPrecondition: {code.Code_FAILED_PRECONDITION, pb.ErrorReason_WRONG_STATE},
	Unauthenticated:    {code.Code_UNAUTHENTICATED, pb.ErrorReason_UNAUTHENTICATED},
	PermissionDenied:   {code.Code_PERMISSION_DENIED, pb.ErrorReason_PERMISSION_DENIED},
	ResourceExhausted:  {code.Code_RESOURCE_EXHAUSTED, pb.ErrorReason_OVERLOADED},
	Unavailable:        {code.Code_UNAVAILABLE, pb.ErrorReason_REPLICA_NOT_READY},
	DeadlineExceeded:   {code.Code_DEADLINE_EXCEEDED, pb.ErrorReason_DEADLINE_EXCEEDED},
	Cancelled:          {code.Code_CANCELLED, pb.ErrorReason_CANCELLED},
	Unimplemented:      {code.Code_UNIMPLEMENTED, pb.ErrorReason_UNKNOWN_METHOD},
}

// Status is THE mapping from errors to the wire, as google.rpc.Status, a message of the
// schema: package edge sends it as the answer of a call, ImportFilms inside its results.
// The cause is never sent, and the text of an Internal error neither; what is no *Error and
// no end of a context is Internal.
func Status(err error) *status.Status {
	e := As(err)
	switch {
	case e != nil:
	case errors.Is(err, context.DeadlineExceeded):
		e = New(DeadlineExceeded, pb.ErrorReason_DEADLINE_EXCEEDED, "the deadline passed")
	case errors.Is(err, context.Canceled):
		e = New(Cancelled, pb.ErrorReason_CANCELLED, "the call was cancelled")
	default:
		e = &Error{}
	}
	if int(e.Kind) >= len(kinds) || e.Kind == Internal {
		e = &Error{Message: "internal error"}
	}
	k := kinds[e.Kind]
	reason := e.Reason
	if reason == pb.ErrorReason_ERROR_REASON_UNSPECIFIED {
		reason = k.reason
	}
	d := details{room: maxDetails}
	info := &errdetails.ErrorInfo{Reason: reason.String(), Domain: Domain}
	for key, value := range e.Metadata {
		if info.Metadata == nil {
			info.Metadata = map[string]string{}
		}
		info.Metadata[Clean(key)] = Clean(value)
	}
	d.add(info)
	if e.Kind == ResourceExhausted || e.Kind == Unavailable {
		after := e.RetryAfter
		if after <= 0 {
			after = defaultRetry
		}
		d.add(&errdetails.RetryInfo{RetryDelay: durationpb.New(after)})
	}
	d.add(badRequest(e.Fields, d.room))
	d.add(preconditions(e.Violations, d.room))
	st := &status.Status{Code: int32(k.code), Message: Clean(e.Message)}
	for _, m := range d.list {
		packed, err := anypb.New(m)
		if err != nil { // cannot be: every text in it is clean; the code and message still go out
			continue
		}
		st.Details = append(st.Details, packed)
	}
	return st
}

type details struct {
	list []proto.Message
	room int
}

func (d *details) add(m proto.Message) {
	if m == nil {
		return
	}
	d.list = append(d.list, m)
	d.room -= proto.Size(m)
}

func badRequest(fields []Field, room int) proto.Message {
	if len(fields) == 0 {
		return nil
	}
	type violation = errdetails.BadRequest_FieldViolation
	return &errdetails.BadRequest{FieldViolations: fitting(fields, room,
		func(f Field) *violation { return &violation{Field: Clean(f.Path), Description: Clean(f.Rule)} },
		func(rest string) *violation { return &violation{Description: rest} })}
}

func preconditions(violations []Violation, room int) proto.Message {
	if len(violations) == 0 {
		return nil
	}
	type violation = errdetails.PreconditionFailure_Violation
	return &errdetails.PreconditionFailure{Violations: fitting(violations, room,
		func(v Violation) *violation {
			return &violation{Type: Clean(v.Rule), Subject: Clean(v.Subject), Description: Clean(v.Description)}
		},
		func(rest string) *violation { return &violation{Description: rest} })}
}

// fitting makes messages of as many things as there is room for; one more says how many are
// left out.
func fitting[T any, M proto.Message](all []T, room int, one func(T) M, rest func(string) M) (list []M) {
	for i, x := range all {
		m := one(x)
		if room -= proto.Size(m) + 4; room < 0 {
			return append(list, rest(more(len(all)-i)))
		}
		list = append(list, m)
	}
	return list
}

func more(n int) string { return "and " + strconv.Itoa(n) + " more" }

// Clean makes text fit for a header: valid UTF-8, of bounded length.
func Clean(s string) string {
	if len(s) > MaxText {
		s = s[:MaxText] + "…"
	}
	return strings.ToValidUTF8(s, "�")
}
