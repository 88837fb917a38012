package catalog

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"pgregory.net/rapid"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/theatertest"
)

const (
	upserted = pb.WatchFilmsResponse_UPSERTED
	gone     = pb.WatchFilmsResponse_REMOVED
	beat     = pb.WatchFilmsResponse_CHANGE_UNSPECIFIED
)

// served gives a client of the house over a real gRPC connection in memory.
func (h *house) served() pb.CatalogServiceClient {
	h.t.Helper()
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer()
	pb.RegisterCatalogServiceServer(server, h.Service)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:bufconn", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	require.NoError(h.t, err)
	end := h.end
	h.end = func() {
		conn.Close()
		server.Stop()
		<-done
		end()
	}
	h.t.Cleanup(h.end)
	return pb.NewCatalogServiceClient(conn)
}

// tail reads one WatchFilms stream.
type tail struct {
	t      *testing.T
	stream grpc.ServerStreamingClient[pb.WatchFilmsResponse]
	cancel func()
	token  string
}

func (h *house) watch(client pb.CatalogServiceClient, token, filter string) *tail {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	stream, err := client.WatchFilms(ctx, &pb.WatchFilmsRequest{ResumeToken: token, Filter: filter})
	require.NoError(h.t, err)
	h.t.Cleanup(cancel)
	return &tail{t: h.t, stream: stream, cancel: cancel, token: token}
}

// next gives the next change, heartbeats aside, as "UPSERTED films/a".
func (w *tail) next() string {
	w.t.Helper()
	for {
		m, err := w.stream.Recv()
		require.NoError(w.t, err)
		require.NotEmpty(w.t, m.ResumeToken)
		w.token = m.ResumeToken
		if m.Change != beat {
			return m.Change.String() + " " + m.Film.Name
		}
		require.Nil(w.t, m.Film)
	}
}

// heartbeat waits for a message without a change.
func (w *tail) heartbeat() {
	w.t.Helper()
	m, err := w.stream.Recv()
	require.NoError(w.t, err)
	require.Equal(w.t, beat, m.Change, "%v", m)
	w.token = m.ResumeToken
}

func (h *house) tag(name string, tags ...string) {
	h.t.Helper()
	_, err := h.UpdateFilm(h.ctx, &pb.UpdateFilmRequest{Film: &pb.Film{Name: name, Tags: tags}})
	require.NoError(h.t, err)
}

func TestWatchFilms(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		client := h.served()
		h.heartbeat = 300 * time.Millisecond
		for _, id := range []string{"c", "a", "b"} {
			h.film(id)
		}
		_, err := h.DeleteFilm(h.ctx, &pb.DeleteFilmRequest{Name: "films/b"})
		require.NoError(t, err)
		w := h.watch(client, "", "")
		assert.Equal(t, "UPSERTED films/a", w.next())
		assert.Equal(t, "UPSERTED films/c", w.next())
		w.heartbeat()
		h.tag("films/a", "one")
		h.tag("films/a", "two")
		_, err = h.UndeleteFilm(h.ctx, &pb.UndeleteFilmRequest{Name: "films/b"})
		require.NoError(t, err)
		_, err = h.DeleteFilm(h.ctx, &pb.DeleteFilmRequest{Name: "films/c"})
		require.NoError(t, err)
		h.genre("other", false)
		for _, want := range []string{"UPSERTED films/a", "UPSERTED films/a", "UPSERTED films/b", "REMOVED films/c"} {
			assert.Equal(t, want, w.next())
		}
		w.heartbeat()
		w.heartbeat()

		again := h.watch(client, w.token, "")
		h.tag("films/b", "one")
		assert.Equal(t, "UPSERTED films/b", again.next(), "nothing between is repeated")

		for _, token := range []string{"x", w.token + "x", w.token[1:]} {
			stream, err := client.WatchFilms(h.ctx, &pb.WatchFilmsRequest{ResumeToken: token})
			require.NoError(t, err)
			_, err = stream.Recv()
			assert.ErrorContains(t, err, "resume_token")
		}
		stream, err := client.WatchFilms(h.ctx, &pb.WatchFilmsRequest{ResumeToken: w.token, Filter: "state = DRAFT"})
		require.NoError(t, err)
		_, err = stream.Recv()
		assert.ErrorContains(t, err, "resume_token", "a token is good for its own filter")
		stream, err = client.WatchFilms(h.ctx, &pb.WatchFilmsRequest{Filter: "nope"})
		require.NoError(t, err)
		_, err = stream.Recv()
		assert.Error(t, err)
	})
}

func TestWatchFilmsThroughAFilter(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		client := h.served()
		h.film("in", func(f *pb.Film) { f.Tags = []string{"x"} })
		h.film("out")
		w := h.watch(client, "", `tags:"x"`)
		assert.Equal(t, "UPSERTED films/in", w.next())
		h.tag("films/out", "y") // not known, not told of
		h.tag("films/out", "x")
		h.tag("films/in", "y")
		h.tag("films/in", "z")
		h.film("new")
		h.tag("films/out", "x", "y")
		_, err := h.DeleteFilm(h.ctx, &pb.DeleteFilmRequest{Name: "films/in"})
		require.NoError(t, err)
		_, err = h.DeleteFilm(h.ctx, &pb.DeleteFilmRequest{Name: "films/out"})
		require.NoError(t, err)
		for _, want := range []string{"UPSERTED films/out", "REMOVED films/in", "UPSERTED films/out", "REMOVED films/out"} {
			assert.Equal(t, want, w.next())
		}
	})
}

func TestExportFilmsThenWatch(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		client := h.served()
		for i := range 120 {
			h.film(fmt.Sprintf("f%03d", i))
		}
		_, err := h.DeleteFilm(h.ctx, &pb.DeleteFilmRequest{Name: "films/f007"})
		require.NoError(t, err)
		export := func(req *pb.ExportFilmsRequest) (films []*pb.Film, token string) {
			stream, err := client.ExportFilms(h.ctx, req)
			require.NoError(t, err)
			for {
				m, err := stream.Recv()
				if errors.Is(err, io.EOF) {
					return films, token
				}
				require.NoError(t, err)
				require.Empty(t, token, "the token ends the stream")
				if token = m.ResumeToken; m.Film != nil {
					films = append(films, m.Film)
				}
			}
		}
		all, _ := export(&pb.ExportFilmsRequest{ShowDeleted: true})
		assert.Len(t, all, 120)
		films, token := export(&pb.ExportFilmsRequest{})
		require.Len(t, films, 119)
		equal(t, h.get("films/f000"), films[0])
		h.tag("films/f003", "late")
		w := h.watch(client, token, "")
		assert.Equal(t, "UPSERTED films/f003", w.next())
	})
}

// However often a watcher is cut off, wherever it goes on, and whatever is written in
// between, it is sent each change once, in order, and ends with the films as they are.
func TestWatchFilmsLosesAndRepeatsNothing(t *testing.T) {
	url := theatertest.Postgres(t)
	houses := []*house{open(t, url, "replica-1"), open(t, url, "replica-2")}
	clients := []pb.CatalogServiceClient{houses[0].served(), houses[1].served()}
	houses[0].genre("drama", false)
	rounds := 0
	checks(t, 25)
	rapid.Check(t, func(rt *rapid.T) {
		rounds++
		r := &relay{rt: rt, houses: houses, clients: clients, prefix: fmt.Sprintf("r%d-", rounds), held: map[string]int64{}, wrote: map[string][]int64{}}
		for range rapid.IntRange(0, 10).Draw(rt, "before") {
			r.write(fmt.Sprintf("f%d", rapid.IntRange(0, 7).Draw(rt, "film")))
		}
		for range rapid.IntRange(1, 5).Draw(rt, "streams") {
			stream, cancel := r.stream()
			for range rapid.IntRange(1, 5).Draw(rt, "messages") {
				r.read(stream)
				r.write(fmt.Sprintf("f%d", rapid.IntRange(0, 7).Draw(rt, "film")))
			}
			cancel()
		}
		last := r.write("zz") // the last by time and by name
		stream, cancel := r.stream()
		defer cancel()
		for r.held[last] == 0 {
			r.read(stream)
		}
		for name, revisions := range r.wrote {
			if newest := revisions[len(revisions)-1]; r.held[name] != newest {
				rt.Fatalf("%s: has %d, not %d", name, r.held[name], newest)
			}
			for _, revision := range revisions {
				if r.filled > 0 && revision > r.filled && !r.got[revision] {
					rt.Fatalf("%s at %d was never sent", name, revision)
				}
			}
		}
	})
}

// checks sets how many cases the test's properties are checked with.
func checks(t *testing.T, n int) {
	t.Helper()
	was := flag.Lookup("rapid.checks").Value.String()
	require.NoError(t, flag.Set("rapid.checks", fmt.Sprint(n)))
	t.Cleanup(func() { require.NoError(t, flag.Set("rapid.checks", was)) })
}

// relay is a watcher that changes streams and servers while films are written.
type relay struct {
	rt      *rapid.T
	houses  []*house
	clients []pb.CatalogServiceClient
	prefix  string
	token   string
	held    map[string]int64   // revision of each film as last sent
	wrote   map[string][]int64 // revisions of each film
	got     map[int64]bool     // revisions sent after the filling
	filled  int64              // the filling's revision, once it is over
	last    int64
}

func (r *relay) write(id string) string {
	h := r.houses[rapid.IntRange(0, 1).Draw(r.rt, "replica")]
	f := named("films/" + r.prefix + id)
	f.Tags = []string{r.prefix, fmt.Sprint(rapid.IntRange(0, 1000000).Draw(r.rt, "tag"))}
	stream := &importStream{ctx: h.ctx, in: []*pb.ImportFilmsRequest{{Films: []*pb.Film{f}}}}
	if err := h.ImportFilms(stream); err != nil {
		r.rt.Fatal(err)
	}
	if stream.out[0].Results[0].Outcome != unchanged {
		r.wrote[f.Name] = append(r.wrote[f.Name], h.get(f.Name).Revision)
	}
	return f.Name
}

func (r *relay) stream() (grpc.ServerStreamingClient[pb.WatchFilmsResponse], func()) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	client := r.clients[rapid.IntRange(0, 1).Draw(r.rt, "server")]
	stream, err := client.WatchFilms(ctx, &pb.WatchFilmsRequest{ResumeToken: r.token, Filter: fmt.Sprintf("tags:%q", r.prefix)})
	if err != nil {
		r.rt.Fatal(err)
	}
	return stream, cancel
}

func (r *relay) read(stream grpc.ServerStreamingClient[pb.WatchFilmsResponse]) {
	m, err := stream.Recv()
	if err != nil {
		r.rt.Fatal(err)
	}
	r.token = m.ResumeToken
	if m.Change == beat {
		if r.filled == 0 {
			at, err := r.houses[0].openBookmark(m.ResumeToken, fmt.Sprintf("tags:%q", r.prefix))
			if err != nil {
				r.rt.Fatal(err)
			}
			r.filled, r.got = at.Revision, map[int64]bool{}
		}
		return
	}
	f := m.Film
	switch {
	case m.Change != upserted || f.Revision <= r.held[f.Name]:
		r.rt.Fatalf("%s %s at %d, had %d", m.Change, f.Name, f.Revision, r.held[f.Name])
	case r.filled > 0 && f.Revision <= r.last:
		r.rt.Fatalf("%s at %d after %d", f.Name, f.Revision, r.last)
	case r.filled > 0:
		r.last, r.got[f.Revision] = f.Revision, true
	}
	r.held[f.Name] = f.Revision
}

func TestWatchFilmsExpires(t *testing.T) {
	h := open(t, theatertest.SQLite(t), "replica-1")
	h.film("a")
	w := &watcher{Service: h.Service}
	for _, c := range []struct {
		at      bookmark
		trimmed int64
		gone    bool
	}{
		{bookmark{Revision: 5, Index: whole}, 5, false}, {bookmark{Revision: 5, Index: 3}, 5, true}, {bookmark{Revision: 4, Index: whole}, 5, true},
		{bookmark{Revision: 6, Index: 1}, 5, false}, {bookmark{Index: whole, Filling: true}, 0, false},
	} {
		w.at = c.at
		err := w.expired(c.trimmed)
		if c.gone {
			assert.Equal(t, pb.ErrorReason_RESUME_EXPIRED, reason(t, err), "%+v", c)
		} else {
			assert.NoError(t, err, "%+v", c)
		}
	}
}

func TestWatchFilmsCutsSlowReaders(t *testing.T) {
	h := open(t, theatertest.SQLite(t), "replica-1")
	client := h.served()
	h.slowAfter, h.heartbeat = 300*time.Millisecond, 10*time.Second
	h.genre("drama", false)
	var films []*pb.Film
	for i := range 400 {
		f := named(fmt.Sprintf("films/f%03d", i))
		f.Localizations["en"].Synopsis = fmt.Sprintf("%09000d", i)
		films = append(films, f)
	}
	h.imports(&pb.ImportFilmsRequest{Films: films})
	got, token, cuts := 0, "", 0
	for got < 400 {
		stream, err := client.WatchFilms(h.ctx, &pb.WatchFilmsRequest{ResumeToken: token})
		require.NoError(t, err)
		if cuts == 0 {
			time.Sleep(time.Second) // read nothing
		}
		for got < 400 {
			m, err := stream.Recv()
			if err != nil {
				assert.ErrorContains(t, err, "too slow")
				cuts++
				break
			}
			if m.Change == upserted {
				require.Equal(t, films[got].Name, m.Film.Name, "nothing lost or repeated")
				got++
			}
			token = m.ResumeToken
		}
	}
	assert.Equal(t, 1, cuts)
}

func TestWatchFilmsEndsWithATokenWhenStopped(t *testing.T) {
	h := open(t, theatertest.SQLite(t), "replica-1")
	h.film("a")
	ctx, stop := context.WithCancel(h.ctx)
	stream := &watchStream{ctx: ctx, sent: make(chan *pb.WatchFilmsResponse, 10)}
	done := make(chan error, 1)
	go func() { done <- h.WatchFilms(&pb.WatchFilmsRequest{}, stream) }()
	assert.Equal(t, "films/a", (<-stream.sent).Film.GetName())
	filled := <-stream.sent
	stop()
	last := <-stream.sent
	assert.Equal(t, beat, last.Change)
	assert.ErrorIs(t, <-done, context.Canceled)
	a, err := h.openBookmark(filled.ResumeToken, "")
	require.NoError(t, err)
	b, err := h.openBookmark(last.ResumeToken, "")
	require.NoError(t, err)
	assert.Equal(t, a, b)
	assert.Nil(t, last.Film)
}

// watchStream is a WatchFilms stream in memory.
type watchStream struct {
	grpc.ServerStream
	ctx  context.Context
	sent chan *pb.WatchFilmsResponse
}

func (s *watchStream) Context() context.Context { return s.ctx }

func (s *watchStream) Send(m *pb.WatchFilmsResponse) error {
	s.sent <- m
	return nil
}
