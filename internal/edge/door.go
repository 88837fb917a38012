package edge

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/changes"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/telemetry"
)

// Names of our headers and trailers.
const (
	headerMinRevision = "theater-min-revision"
	headerTraceID     = "theater-trace-id"
	trailerRevision   = "theater-revision"
	trailerDegraded   = "theater-degraded"
)

// minRevisionLimit is the longest a read waits for the revision it asks for. replyTime is
// what it leaves of its deadline, so that the client still hears that it waited in vain, but
// never more than a tenth.
const (
	minRevisionLimit = 2 * time.Second
	replyTime        = 50 * time.Millisecond
)

// errDraining ends streams when the server stops.
var errDraining = errors.New("this server is stopping; go on at another one")

// door is what every call of every protocol passes. It wraps the handlers themselves, not
// the transports, so the credentials are judged before a byte of the body is decoded and a
// body that does not decode is the client's fault, not INTERNAL.
type door struct {
	Config
	validator protovalidate.Validator
	// draining is cancelled with errDraining when the server stops.
	draining context.Context
	stamp    atomic.Pointer[stamp]
	shed     *shedder
	quota    *quota
	denials  *denials
}

// stamp is a trailer, kept while what it says stays the same: nearly all calls of a second
// share one.
type stamp struct {
	revision int64
	degraded string
	set      metadata.MD
}

// method is what the door knows of an RPC before it is called.
type method struct {
	name  string // "/theater.v1.CatalogService/CreateFilm"
	roles uint32
	// reads says that the schema promises no side effects.
	reads    bool
	priority priority
	// gate is nil but for calls whose work grows with the catalogue.
	gate      *gate
	telemetry *telemetry.Method
}

// visit is one call inside the door, and the context its handler runs with: what handlers
// ask of their context most is a field here, which spares the hottest calls a chain of small
// contexts.
type visit struct {
	context.Context
	door    *door
	m       *method
	call    telemetry.Call
	caller  *auth.Caller
	receipt *changes.Receipt
	// decode and inbox receive the message of a unary call; entered says that it is being
	// served since.
	decode  func(any) error
	inbox   inbox
	entered bool
}

// Value implements context.Context.
func (v *visit) Value(key any) any {
	if _, ok := key.(auth.CallerKey); ok && v.caller != nil {
		return v.caller
	}
	if value := v.call.Value(key); value != nil {
		return value
	}
	return v.Context.Value(key)
}

// unary wraps the handler of a unary method, for calls that have knocked.
func (d *door) unary(m *method, next grpc.MethodHandler) grpc.MethodHandler {
	return func(srv any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (reply any, err error) {
		v := &visit{door: d, m: m, decode: decode}
		v.enter(ctx)
		defer func() {
			if p := recover(); p != nil {
				err = panicked(p)
			}
			if v.entered {
				d.shed.leave()
				m.gate.leave()
			}
			_ = grpc.SetTrailer(v, d.trailer(v)) // fails only for a call that is already gone
			if err = v.leave(err); err != nil {
				reply = nil
			}
		}()
		if ctx.Value(refusedKey{}) != nil {
			return nil, overloaded()
		}
		// From here until the message is here a call does not count: a silent client is no load.
		d.shed.begin()
		if err = ctx.Err(); err != nil {
			return nil, err // the client gave up while the call was queued
		}
		if err = v.admit(); err != nil {
			return nil, err
		}
		return next(srv, v, v.receive, nil)
	}
}

// receive gives the handler of a unary call its message, once it is here and valid.
func (v *visit) receive(request any) error {
	if err := v.door.shed.receive(&v.inbox, request, v.decode); err != nil {
		return err
	}
	if err := v.m.gate.enter(v); err != nil {
		return err
	}
	if err := v.door.shed.enter(v.m.priority); err != nil {
		v.m.gate.leave()
		return err
	}
	v.entered = true
	return v.door.validate(request)
}

// stream wraps the handler of a streaming method.
func (d *door) stream(m *method, clientStreams bool, next grpc.StreamHandler) grpc.StreamHandler {
	return func(srv any, s grpc.ServerStream) (err error) {
		ctx, end := context.WithCancelCause(s.Context())
		defer end(nil)
		defer context.AfterFunc(d.draining, func() { end(errDraining) })()
		v := &visit{door: d, m: m}
		v.enter(ctx)
		defer func() {
			if p := recover(); p != nil {
				err = panicked(p)
			}
			if w, ok := s.(*webStream); ok {
				w.end()
			}
			s.SetTrailer(d.trailer(v))
			err = v.leave(err)
		}()
		if err = d.shed.enterStream(m.priority); err != nil {
			return err
		}
		defer d.shed.leaveStream()
		if err = v.admit(); err != nil {
			return err
		}
		return next(srv, &stream{ServerStream: s, ctx: v, door: d, interruptible: clientStreams})
	}
}

// enter begins the call's telemetry.
func (v *visit) enter(ctx context.Context) {
	parent, state := header(ctx, "traceparent"), ""
	if parent != "" {
		state = header(ctx, "tracestate")
	}
	v.Context, v.call = v.m.telemetry.Start(ctx, parent, state)
}

// admit says whether the call may go on: the caller is known, may call the method and has
// quota left, the server is ready, and this replica is as new as the caller asks. Permission comes before
// everything that could tell what exists.
func (v *visit) admit() (err error) {
	d := v.door
	credentials, err := credentialsOf(v)
	if err != nil {
		return err
	}
	caller, err := d.Auth.Authenticate(v, credentials)
	if err != nil {
		return err
	}
	v.caller = caller
	if err := caller.Allow(v.m.roles); err != nil {
		return err
	}
	if err := d.quota.take(caller.ID, time.Now()); err != nil {
		return err
	}
	if !d.Ready() {
		return fault.New(fault.Unavailable, pb.ErrorReason_REPLICA_NOT_READY, "this server is not ready; another one may be")
	}
	if !v.m.reads {
		v.Context, v.receipt = changes.WithReceipt(v.Context)
	}
	if least := header(v, headerMinRevision); least != "" {
		revision, err := strconv.ParseInt(least, 10, 64)
		if err != nil || revision < 0 {
			return fault.Invalid(headerMinRevision, "is not a revision")
		}
		limit := minRevisionLimit
		if end, ok := v.Deadline(); ok {
			left := time.Until(end)
			limit = min(limit, left-min(replyTime, left/10))
		}
		return d.Log.Wait(v, revision, limit)
	}
	return nil
}

// trailer says which revision the caller has now seen and what the answer lacks.
func (d *door) trailer(v *visit) metadata.MD {
	revision := int64(0)
	if v.receipt != nil {
		revision = v.receipt.Revision()
	}
	if revision == 0 {
		revision = d.Log.Applied()
	}
	degraded := d.Degraded()
	if s := d.stamp.Load(); s != nil && s.revision == revision && s.degraded == degraded {
		return s.set
	}
	s := &stamp{revision, degraded, metadata.MD{trailerRevision: {strconv.FormatInt(revision, 10)}}}
	if degraded != "" {
		s.set[trailerDegraded] = []string{degraded}
	}
	d.stamp.Store(s)
	return s.set
}

// leave translates the call's error, logs what is ours, and ends the call's telemetry.
func (v *visit) leave(err error) error {
	d := v.door
	if err == nil {
		if v.call.Recorded() {
			setHeader(v, v.call.TraceID())
		}
		v.call.End(uint32(codes.OK), false, "")
		return nil
	}
	f := faultOf(v, err)
	st := Status(f)
	id := v.call.TraceID()
	switch {
	case st.Code() == codes.Internal:
		if id == "" {
			id = rand.Text() // nothing is traced: still something to find the log line by
		}
		d.Logger.LogAttrs(v, slog.LevelError, "internal error", slog.String("method", v.m.name),
			slog.String("caller", auth.CallerFrom(v).ID), slog.String("trace", id), slog.Any("error", f))
	case f.Cause != nil && serverFault(st.Code()):
		d.Logger.LogAttrs(v, slog.LevelWarn, "call failed", slog.String("method", v.m.name),
			slog.String("code", st.Code().String()), slog.Any("error", f))
	}
	if st.Code() == codes.PermissionDenied && !v.m.reads {
		d.denials.note(v, Denied{Caller: auth.CallerFrom(v).ID, Method: v.m.name[1:], Resource: subject(v.inbox.message), Why: st.Message()})
	}
	setHeader(v, id)
	v.call.End(uint32(st.Code()), serverFault(st.Code()), st.Message())
	return st.Err()
}

func setHeader(ctx context.Context, traceID string) {
	if traceID != "" {
		_ = grpc.SetHeader(ctx, metadata.Pairs(headerTraceID, traceID)) // fails only when headers are already sent
	}
}

// validate checks the rules of the schema.
func (d *door) validate(request any) error {
	m, ok := request.(proto.Message)
	if !ok {
		return fmt.Errorf("request %T is no protobuf message", request)
	}
	if err := d.validator.Validate(m); err != nil {
		return invalid(request, err)
	}
	return nil
}

// invalid is the fault behind an error of the validator.
func invalid(request any, err error) error {
	var broken *protovalidate.ValidationError
	if !errors.As(err, &broken) || len(broken.Violations) == 0 {
		return fmt.Errorf("validating %T: %w", request, err)
	}
	fields := make([]fault.Field, 0, len(broken.Violations))
	for _, v := range broken.Violations {
		fields = append(fields, fault.Field{Path: protovalidate.FieldPathString(v.Proto.GetField()), Rule: v.Proto.GetMessage()})
	}
	return fault.InvalidFields(fields)
}

// panicked turns what a handler panicked with into an error that is logged with its stack.
func panicked(p any) error {
	return fmt.Errorf("panic: %v\n%s", p, debug.Stack())
}

// header gives the first value of a request header, without copying all of them.
func header(ctx context.Context, name string) string {
	if values := metadata.ValueFromIncomingContext(ctx, name); len(values) > 0 {
		return values[0]
	}
	return ""
}

const bearer = "Bearer "

// credentialsOf collects what a call came with. Which of two tokens counts is for nobody to
// guess: not for a proxy before us, and not for us.
func credentialsOf(ctx context.Context) (auth.Credentials, error) {
	c := auth.Credentials{TLS: tlsState(ctx)}
	values := metadata.ValueFromIncomingContext(ctx, "authorization")
	if len(values) > 1 {
		return c, auth.Unauthenticated("more than one authorization header")
	}
	if len(values) == 1 {
		c.Bearer = values[0] // another scheme is judged, and not taken for no credentials
	}
	if h := c.Bearer; len(h) > len(bearer) && strings.EqualFold(h[:len(bearer)], bearer) {
		c.Bearer = h[len(bearer):]
	}
	return c, nil
}

func tlsState(ctx context.Context) *tls.ConnectionState {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil
	}
	if _, ok := p.AuthInfo.(credentials.TLSInfo); !ok {
		return nil
	}
	info, _ := p.AuthInfo.(credentials.TLSInfo) // it lives on the heap: not for calls without TLS
	return &info.State
}
