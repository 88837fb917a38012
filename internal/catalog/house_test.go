package catalog

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/changes"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/shelf"
	"github.com/aitheater/theater/internal/sqldb"
	"github.com/aitheater/theater/internal/theatertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// house is one process's catalogue over a real database: log, shelf and service.
type house struct {
	*Service
	t   *testing.T
	ctx context.Context
	db  *sqldb.DB
	end func()
}

// onEachStore runs a test in a fresh house on SQLite and on PostgreSQL.
func onEachStore(t *testing.T, test func(t *testing.T, h *house)) {
	theatertest.EachStore(t, func(t *testing.T, url string) { test(t, open(t, url, "replica-1")) })
}

// open opens a house and waits until its shelf is filled; end closes it, once.
func open(t *testing.T, url, replica string) *house {
	t.Helper()
	ctx, cancel := context.WithCancel(auth.WithCaller(context.Background(), &auth.Caller{ID: "tester", Roles: 1 << pb.Access_ADMIN}))
	db, err := sqldb.Open(ctx, url)
	require.NoError(t, err)
	keys, err := auth.NewKeys(db.RootSecret())
	require.NoError(t, err)
	log, sh := changes.New(db, replica), shelf.New()
	done := make(chan error, 1)
	go func() { done <- log.Follow(ctx, sh) }()
	h := &house{Service: New(log, sh, keys, db.Clock()), t: t, ctx: ctx, db: db}
	ended := false
	h.end = func() {
		if ended {
			return
		}
		ended = true
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		require.NoError(t, db.Close())
	}
	t.Cleanup(h.end)
	require.Eventually(t, func() bool { return log.Status().Ready }, 10*time.Second, time.Millisecond)
	return h
}

func (h *house) genre(id string, children bool) {
	h.t.Helper()
	_, err := h.CreateGenre(h.ctx, &pb.CreateGenreRequest{GenreId: id, Genre: &pb.Genre{DisplayNames: map[string]string{"en": id}, Children: children}})
	require.NoError(h.t, err)
}

// film stores a lantern under another name, changed as asked.
func (h *house) film(id string, change ...func(f *pb.Film)) *pb.Film {
	h.t.Helper()
	if h.shelf.Current().Genre("genres/drama") == nil {
		h.genre("drama", false)
	}
	f := lantern()
	for _, c := range change {
		c(f)
	}
	f, err := h.CreateFilm(h.ctx, &pb.CreateFilmRequest{FilmId: id, Film: f})
	require.NoError(h.t, err)
	return f
}

func (h *house) published(id string, change ...func(f *pb.Film)) *pb.Film {
	h.t.Helper()
	f := h.film(id, change...)
	f, err := h.PublishFilm(h.ctx, &pb.PublishFilmRequest{Name: f.Name})
	require.NoError(h.t, err)
	return f
}

func (h *house) get(name string) *pb.Film {
	h.t.Helper()
	f, err := h.GetFilm(h.ctx, &pb.GetFilmRequest{Name: name})
	require.NoError(h.t, err)
	return f
}

// seen reports whether an adult in a market sees the film now.
func (h *house) seen(name, market string) bool {
	now := h.shelf.Current()
	e := now.Film(name)
	if e == nil {
		return false
	}
	verdict, _ := now.Gate(shelf.NewViewer(&pb.Viewer{Market: market, Audience: pb.Viewer_ADULT}), e, h.clock.Now())
	return verdict == shelf.Playing
}

func (h *house) imports(reqs ...*pb.ImportFilmsRequest) []*pb.ImportResult {
	h.t.Helper()
	stream := &importStream{ctx: h.ctx, in: reqs}
	require.NoError(h.t, h.ImportFilms(stream))
	require.Len(h.t, stream.out, len(reqs))
	var results []*pb.ImportResult
	for _, resp := range stream.out {
		results = append(results, resp.Results...)
	}
	return results
}

// importStream is ImportFilms' stream in memory.
type importStream struct {
	grpc.ServerStream
	ctx context.Context
	in  []*pb.ImportFilmsRequest
	out []*pb.ImportFilmsResponse
}

func (s *importStream) Context() context.Context { return s.ctx }

func (s *importStream) Recv() (*pb.ImportFilmsRequest, error) {
	if len(s.in) == 0 {
		return nil, io.EOF
	}
	req := s.in[0]
	s.in = s.in[1:]
	return req, nil
}

func (s *importStream) Send(resp *pb.ImportFilmsResponse) error {
	s.out = append(s.out, resp)
	return nil
}

func reason(t *testing.T, err error) pb.ErrorReason {
	t.Helper()
	e := fault.As(err)
	require.NotNil(t, e, "%v", err)
	return e.Reason
}

func equal(t *testing.T, want, got proto.Message) {
	t.Helper()
	require.True(t, proto.Equal(want, got), "want %v\n got %v", want, got)
}
