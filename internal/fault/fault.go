// Package fault is the closed list of ways in which a call can fail, as the rooms say it.
// It knows no transport: Status makes a google.rpc.Status of an *Error in one function,
// and whatever is not an *Error reaches no client but as INTERNAL without its text.
package fault

import (
	"errors"
	"fmt"
	"time"

	pb "github.com/aitheater/theater/api/theater/v1"
)

// Kind is the class of an error; each is one status code on the wire.
type Kind uint8

// The kinds. The zero value is Internal, so that a forgotten kind is loud.
const (
	Internal Kind = iota
	InvalidArgument
	NotFound
	AlreadyExists
	Aborted
	FailedPrecondition
	Unauthenticated
	PermissionDenied
	ResourceExhausted
	Unavailable
	DeadlineExceeded
	Cancelled
	Unimplemented
)

// Error is a failure a client is told about.
type Error struct {
	Kind   Kind
	Reason pb.ErrorReason
	// Message is for people; for InvalidArgument it begins with the field path.
	Message string
	// Fields are the broken field rules, for google.rpc.BadRequest.
	Fields []Field
	// Violations are the unmet preconditions, for google.rpc.PreconditionFailure.
	Violations []Violation
	// Metadata goes into google.rpc.ErrorInfo.
	Metadata map[string]string
	// RetryAfter is set on ResourceExhausted and Unavailable; 0 = the mapping's default.
	RetryAfter time.Duration
	// Cause is logged and never sent.
	Cause error
}

// Field is one broken rule of one field.
type Field struct{ Path, Rule string }

// Violation is one unmet precondition: a rule id, what it concerns (a market, a film) and
// what would satisfy it.
type Violation struct{ Rule, Subject, Description string }

func (e *Error) Error() string {
	if e.Cause != nil {
		return e.Message + ": " + e.Cause.Error()
	}
	return e.Message
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Is reports whether err is, or wraps, an *Error with this reason.
func Is(err error, reason pb.ErrorReason) bool {
	var e *Error
	return errors.As(err, &e) && e.Reason == reason
}

// As gives the *Error in err's chain, or nil.
func As(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}

// Invalid says that the field at path breaks a rule.
func Invalid(path, rule string, args ...any) *Error {
	return InvalidFields([]Field{{Path: path, Rule: fmt.Sprintf(rule, args...)}})
}

// InvalidFields says that fields break rules; fields must not be empty.
func InvalidFields(fields []Field) *Error {
	return &Error{Kind: InvalidArgument, Reason: pb.ErrorReason_INVALID_FIELD, Message: fields[0].Path + ": " + fields[0].Rule, Fields: fields}
}

// New makes an error of a kind and reason.
func New(kind Kind, reason pb.ErrorReason, format string, args ...any) *Error {
	return &Error{Kind: kind, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// Missing says that a resource other than a film does not exist.
func Missing(name string) *Error {
	return New(NotFound, pb.ErrorReason_RESOURCE_NOT_FOUND, "%s: not found", name)
}

// FilmNotFound is the one answer for a film that does not exist or is hidden from a viewer:
// it carries nothing that would tell the two apart.
func FilmNotFound() *Error {
	return New(NotFound, pb.ErrorReason_FILM_NOT_FOUND, "film not found")
}

// EtagMismatch says that the resource was changed since the caller read it.
func EtagMismatch(name, current string) *Error {
	e := New(Aborted, pb.ErrorReason_ETAG_MISMATCH, "%s: changed since it was read; its etag is now %q", name, current)
	e.Metadata = map[string]string{"etag": current}
	return e
}

// StoreUnavailable says that the database does not answer.
func StoreUnavailable(cause error) *Error {
	e := New(Unavailable, pb.ErrorReason_STORE_UNAVAILABLE, "the database does not answer; try again")
	e.Cause = cause
	return e
}
