package edge_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/edge"
	"github.com/aitheater/theater/internal/fault"
)

var notApplied = fault.New(fault.Unavailable, pb.ErrorReason_REVISION_NOT_APPLIED, "not applied in time")

// reason gives the code and ErrorInfo reason of an error.
func reason(t testing.TB, err error) (codes.Code, string) {
	t.Helper()
	st := status.Convert(err)
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			assert.Equal(t, "theater", info.Domain)
			return st.Code(), info.Reason
		}
	}
	t.Errorf("%v has no ErrorInfo", err)
	return st.Code(), ""
}

func TestACallGoesThroughAndIsStamped(t *testing.T) {
	h := open(t, nil)
	h.revisions.applied.Store(7)
	h.degraded.Store("redis")
	var caller *auth.Caller
	h.get = func(ctx context.Context, req *pb.GetFilmRequest) (*pb.Film, error) {
		caller = auth.CallerFrom(ctx)
		return &pb.Film{Name: req.Name}, nil
	}
	var trailer metadata.MD
	film, err := pb.NewCatalogServiceClient(h.dial(t)).GetFilm(t.Context(), &pb.GetFilmRequest{Name: "films/a"}, grpc.Trailer(&trailer))
	require.NoError(t, err)
	assert.Equal(t, "films/a", film.Name)
	assert.Equal(t, "open", caller.ID)
	assert.Equal(t, []string{"7"}, trailer.Get("theater-revision"))
	assert.Equal(t, []string{"redis"}, trailer.Get("theater-degraded"))
}

func TestFaultsBecomeStatuses(t *testing.T) {
	h := open(t, nil)
	var give error
	h.get = func(context.Context, *pb.GetFilmRequest) (*pb.Film, error) { return nil, give }
	client := pb.NewCatalogServiceClient(h.dial(t))
	for name, c := range map[string]struct {
		give   error
		code   codes.Code
		reason string
	}{
		"invalid":     {fault.Invalid("film.runtime", "must be positive"), codes.InvalidArgument, "INVALID_FIELD"},
		"hidden":      {fault.FilmNotFound(), codes.NotFound, "FILM_NOT_FOUND"},
		"etag":        {fault.EtagMismatch("films/a", "xyz"), codes.Aborted, "ETAG_MISMATCH"},
		"store":       {fault.StoreUnavailable(errors.New("password=hunter2")), codes.Unavailable, "STORE_UNAVAILABLE"},
		"wrapped":     {errors.Join(errors.New("while reading"), fault.Missing("genres/x")), codes.NotFound, "RESOURCE_NOT_FOUND"},
		"no reason":   {&fault.Error{Kind: fault.ResourceExhausted, Message: "x"}, codes.ResourceExhausted, "OVERLOADED"},
		"deadline":    {context.DeadlineExceeded, codes.DeadlineExceeded, "DEADLINE_EXCEEDED"},
		"cancelled":   {context.Canceled, codes.Canceled, "CANCELLED"},
		"unknown":     {errors.New("secret table name"), codes.Internal, "INTERNAL"},
		"no kind":     {&fault.Error{Message: "secret table name"}, codes.Internal, "INTERNAL"},
		"a grpc code": {status.Error(codes.DataLoss, "secret table name"), codes.Internal, "INTERNAL"},
	} {
		t.Run(name, func(t *testing.T) {
			give = c.give
			_, err := client.GetFilm(t.Context(), &pb.GetFilmRequest{Name: "films/a"})
			code, why := reason(t, err)
			assert.Equal(t, c.code, code)
			assert.Equal(t, c.reason, why)
			assert.NotContains(t, status.Convert(err).Message(), "secret")
			assert.NotContains(t, status.Convert(err).Message(), "hunter2")
		})
	}
	assert.Contains(t, h.log.String(), "secret table name", "what is INTERNAL is logged")
}

func TestErrorDetails(t *testing.T) {
	h := open(t, nil)
	h.get = func(context.Context, *pb.GetFilmRequest) (*pb.Film, error) {
		return nil, &fault.Error{
			Kind: fault.Unavailable, Message: "later", RetryAfter: 3 * time.Second, Metadata: map[string]string{"k": "v\xff"},
			Fields:     []fault.Field{{Path: "a", Rule: "b"}},
			Violations: []fault.Violation{{Rule: "r", Subject: "CN", Description: "d"}},
		}
	}
	_, err := pb.NewCatalogServiceClient(h.dial(t)).GetFilm(t.Context(), &pb.GetFilmRequest{Name: "films/a"})
	seen := 0
	for _, d := range status.Convert(err).Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			assert.Equal(t, map[string]string{"k": "v\uFFFD"}, d.Metadata)
		case *errdetails.RetryInfo:
			assert.Equal(t, 3*time.Second, d.RetryDelay.AsDuration())
		case *errdetails.BadRequest:
			assert.Equal(t, "a", d.FieldViolations[0].Field)
		case *errdetails.PreconditionFailure:
			assert.Equal(t, "CN", d.Violations[0].Subject)
		default:
			t.Errorf("unexpected %T", d)
		}
		seen++
	}
	assert.Equal(t, 4, seen)
}

func TestErrorsStaySmallEnoughForEveryClient(t *testing.T) {
	many := make([]fault.Field, 10_000)
	for i := range many {
		many[i] = fault.Field{Path: strings.Repeat("p", 100), Rule: strings.Repeat("r", 3000)}
	}
	st := edge.Status(fault.InvalidFields(many))
	assert.Less(t, len(st.Message()), 1000)
	size := 0
	for _, d := range st.Proto().Details {
		size += len(d.Value)
	}
	assert.Less(t, size, 4<<10)
	last := st.Details()[1].(*errdetails.BadRequest).FieldViolations
	assert.Regexp(t, `^and \d+ more$`, last[len(last)-1].Description)
}

func TestAPanicIsInternalAndTheNextCallWorks(t *testing.T) {
	h := open(t, nil)
	h.get = func(_ context.Context, req *pb.GetFilmRequest) (*pb.Film, error) {
		if req.Name == "films/bad" {
			panic("boom")
		}
		return &pb.Film{}, nil
	}
	client := pb.NewCatalogServiceClient(h.dial(t))
	_, err := client.GetFilm(t.Context(), &pb.GetFilmRequest{Name: "films/bad"})
	code, why := reason(t, err)
	assert.Equal(t, codes.Internal, code)
	assert.Equal(t, "INTERNAL", why)
	assert.Contains(t, h.log.String(), "boom")
	_, err = client.GetFilm(t.Context(), &pb.GetFilmRequest{Name: "films/a"})
	assert.NoError(t, err)
}

func TestTheRulesOfTheSchemaAreChecked(t *testing.T) {
	h := open(t, nil)
	h.title = func(context.Context, *pb.GetTitleRequest) (*pb.GetTitleResponse, error) {
		t.Error("an invalid request reached the room")
		return nil, nil
	}
	_, err := pb.NewListingServiceClient(h.dial(t)).GetTitle(t.Context(), &pb.GetTitleRequest{Name: "films/a", Viewer: &pb.Viewer{Market: "china"}})
	code, why := reason(t, err)
	assert.Equal(t, codes.InvalidArgument, code)
	assert.Equal(t, "INVALID_FIELD", why)
	assert.True(t, strings.HasPrefix(status.Convert(err).Message(), "viewer.market: "), status.Convert(err).Message())
}

func TestMinRevision(t *testing.T) {
	h := open(t, nil)
	h.revisions.applied.Store(5)
	h.get = func(context.Context, *pb.GetFilmRequest) (*pb.Film, error) { return &pb.Film{}, nil }
	client := pb.NewCatalogServiceClient(h.dial(t))
	call := func(least string, limit time.Duration) error {
		ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), "theater-min-revision", least), limit)
		defer cancel()
		_, err := client.GetFilm(ctx, &pb.GetFilmRequest{Name: "films/a"})
		return err
	}
	assert.NoError(t, call("5", time.Minute))
	time.AfterFunc(50*time.Millisecond, func() { h.revisions.applied.Store(6) })
	assert.NoError(t, call("6", time.Minute), "it waits")
	for _, bad := range []string{"x", "-1", "9223372036854775808", ""} {
		code, _ := status.Code(call(bad, time.Minute)), 0
		if bad == "" {
			assert.Equal(t, codes.OK, code)
			continue
		}
		assert.Equal(t, codes.InvalidArgument, code, bad)
	}
	begin := time.Now()
	code, why := reason(t, call("7", time.Minute))
	assert.Equal(t, codes.Unavailable, code)
	assert.Equal(t, "REVISION_NOT_APPLIED", why)
	assert.WithinDuration(t, begin.Add(2*time.Second), time.Now(), time.Second)
	code, why = reason(t, call("7", 600*time.Millisecond))
	assert.Equal(t, codes.Unavailable, code, "the answer comes before the deadline")
	assert.Equal(t, "REVISION_NOT_APPLIED", why)
}

func TestNotReadyRefusesOnOpenConnections(t *testing.T) {
	h := open(t, nil)
	h.get = func(context.Context, *pb.GetFilmRequest) (*pb.Film, error) { return &pb.Film{}, nil }
	client := pb.NewCatalogServiceClient(h.dial(t))
	_, err := client.GetFilm(t.Context(), &pb.GetFilmRequest{Name: "films/a"})
	require.NoError(t, err)
	h.notReady.Store(true)
	_, err = client.GetFilm(t.Context(), &pb.GetFilmRequest{Name: "films/a"})
	code, why := reason(t, err)
	assert.Equal(t, codes.Unavailable, code)
	assert.Equal(t, "REPLICA_NOT_READY", why)
}

func TestUnknownMethodsSayItInOurWords(t *testing.T) {
	h := open(t, nil)
	conn := h.dial(t)
	for _, name := range []string{"/theater.v1.CatalogService/Nope", "/nope.Service/Nope"} {
		code, why := reason(t, conn.Invoke(t.Context(), name, &pb.GetFilmRequest{}, &pb.Film{}))
		assert.Equal(t, codes.Unimplemented, code)
		assert.Equal(t, "UNKNOWN_METHOD", why)
	}
	_, err := pb.NewCatalogServiceClient(conn).ListGenres(t.Context(), &pb.ListGenresRequest{})
	code, _ := reason(t, err)
	assert.Equal(t, codes.Unimplemented, code, "no handler yet")
}

func TestOpenIsForLoopbackOnly(t *testing.T) {
	for addr, ok := range map[string]bool{"127.0.0.1:0": true, "localhost:0": true, "[::1]:0": true, ":0": false, "0.0.0.0:0": false, "192.0.2.1:0": false, "x": false} {
		h := &house{rooms: &rooms{}}
		_, err := edge.New(edge.Config{GRPCAddr: addr, HTTPAddr: "127.0.0.1:0", MetricsAddr: "127.0.0.1:99999", Register: h.register, Auth: auth.Open{}, Log: &h.revisions})
		require.Error(t, err, "the metrics port does not exist")
		assert.Equal(t, !ok, strings.Contains(err.Error(), "loopback"), "%s: %v", addr, err)
	}
}

// asFault gives the fault behind an error of the door's own parts.
func asFault(t testing.TB, err error) *fault.Error {
	t.Helper()
	f := fault.As(err)
	require.NotNil(t, f, "%v", err)
	return f
}
