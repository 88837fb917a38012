package signals

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/changes"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/ledger"
	"github.com/aitheater/theater/internal/shelf"
	"github.com/aitheater/theater/internal/sqldb"
	"github.com/aitheater/theater/internal/theatertest"
)

// films is how many there are, films/f0 and so on; films/gone is deleted.
const films = 100

// replica is a service with what it stands on.
type replica struct {
	*Service
	db     *sqldb.DB
	ledger *ledger.Ledger
	stop   func() // flushes; may be called twice
}

func open(t testing.TB, url string) *sqldb.DB {
	db, err := sqldb.Open(context.Background(), url)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	return db
}

func testKeys(t testing.TB) *auth.Keys {
	keys, err := auth.NewKeys(bytes.Repeat([]byte{1}, 32))
	require.NoError(t, err)
	return keys
}

func testShelf(t testing.TB) *shelf.Shelf {
	var all []changes.Resource
	for i := range films + 1 {
		f := &pb.Film{Name: fmt.Sprint("films/f", i), State: pb.Film_PUBLISHED}
		if i == films {
			f.Name, f.DeleteTime = "films/gone", timestamppb.Now()
		}
		body, err := proto.Marshal(f)
		require.NoError(t, err)
		all = append(all, changes.Resource{Name: f.GetName(), Revision: 1, Body: body})
	}
	s := shelf.New()
	require.NoError(t, s.Load(1, func() (changes.Resource, bool) {
		if len(all) == 0 {
			return changes.Resource{}, false
		}
		next := all[0]
		all = all[1:]
		return next, true
	}))
	return s
}

// start runs a replica over a database until the test ends.
func start(t testing.TB, db *sqldb.DB) *replica {
	return startWith(t, db, testKeys(t))
}

func startWith(t testing.TB, db *sqldb.DB, keys *auth.Keys) *replica {
	l := ledger.New(db)
	service, err := New(context.Background(), l, db, changes.New(db, "replica"), testShelf(t), keys)
	require.NoError(t, err)
	r := &replica{Service: service, db: db, ledger: l}
	r.run(t)
	return r
}

func (r *replica) run(t testing.TB) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	stopped := false
	r.stop = func() {
		if !stopped {
			stopped = true
			cancel()
			assert.NoError(t, <-done)
		}
	}
	t.Cleanup(r.stop)
}

// asService gives a context whose caller is a front end for all audiences.
func asService(t testing.TB) context.Context {
	return auth.WithCaller(t.Context(), &auth.Caller{ID: "player", Roles: 1 << pb.Access_SERVICE})
}

// recent makes an event of now.
func recent(film, viewer string, edit ...func(*pb.Event)) *pb.Event {
	return event(append([]func(*pb.Event){func(e *pb.Event) {
		e.Film, e.ViewerKey, e.OccurTime = film, viewer, timestamppb.Now()
	}}, edit...)...)
}

// rows are all rows of the ledger.
func (r *replica) rows(t testing.TB) (all []ledger.Event) {
	head, err := r.ledger.Head(t.Context())
	require.NoError(t, err)
	require.NoError(t, r.ledger.All(t.Context(), "", head, func(e *ledger.Event) error { all = append(all, *e); return nil }))
	return all
}

func TestMain(m *testing.M) {
	if crashMode() {
		return
	}
	goleak.VerifyTestMain(m)
}

func TestRecordEvents_answersEachOneOnItsOwn(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		r := start(t, open(t, url))
		resp, err := r.RecordEvents(asService(t), &pb.RecordEventsRequest{Events: []*pb.Event{
			recent("films/f1", "ann"),
			recent("films/nope", "ann"),
			recent("films/f1", "ann"), // a duplicate in one batch is stored: the fold counts
			recent("films/gone", "ann"),
			recent("films/f2", "ann", func(e *pb.Event) { e.Kind = pb.Event_IMPRESSION }),
			recent("films/f2", "kid", func(e *pb.Event) { e.Audience = pb.Viewer_KIDS }),
		}})
		require.NoError(t, err)
		var got []string
		for _, res := range resp.GetResults() {
			got = append(got, res.GetStatus().String()+" "+res.GetReason())
		}
		assert.Equal(t, []string{"ACCEPTED ", "REJECTED film: there is no such film", "ACCEPTED ", "REJECTED film: there is no such film", "REJECTED kind: IMPRESSION is not enabled", "ACCEPTED "}, got)
		rows := r.rows(t)
		require.Len(t, rows, 3)
		assert.Equal(t, rows[0].Viewer, rows[1].Viewer)
		assert.NotEqual(t, rows[0].Viewer, rows[2].Viewer)
		assert.Equal(t, pb.Viewer_KIDS, rows[2].Audience)

		resp, err = r.RecordEvents(asService(t), &pb.RecordEventsRequest{Events: []*pb.Event{recent("films/nope", "ann")}})
		require.NoError(t, err, "a batch of which nothing is taken is no error")
		assert.Equal(t, pb.EventResult_REJECTED, resp.GetResults()[0].GetStatus())
		for _, n := range []int{0, 501} {
			_, err = r.RecordEvents(asService(t), &pb.RecordEventsRequest{Events: make([]*pb.Event, n)})
			require.True(t, fault.Is(err, pb.ErrorReason_INVALID_FIELD), "%d events", n)
		}
		assert.Len(t, r.rows(t), 3)
	})
}

// following starts a replica whose shelf follows the database.
func following(t testing.TB, url string) *replica {
	db := open(t, url)
	log, sh := changes.New(db, rand.Text()), shelf.New()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- log.Follow(ctx, sh) }()
	t.Cleanup(func() { cancel(); assert.NoError(t, <-done) })
	<-log.Loaded()
	l := ledger.New(db)
	service, err := New(context.Background(), l, db, log, sh, testKeys(t))
	require.NoError(t, err)
	r := &replica{Service: service, db: db, ledger: l}
	r.run(t)
	return r
}

// put writes a film as the catalogue would.
func (r *replica) put(t testing.TB, f *pb.Film) {
	_, _, err := changes.Write(t.Context(), r.log, changes.Call{Actor: "test", Method: "test"}, func(w *changes.Writer) (*pb.Film, error) {
		body, err := proto.Marshal(f)
		w.Put(changes.Change{Name: f.GetName(), Body: body})
		return f, err
	})
	require.NoError(t, err)
}

// What one replica has answered for is known to the others' events at once, and what they cannot
// know they do not refuse.
func TestFilmsOfOtherReplicasAreKnownAtOnce(t *testing.T) {
	server := theatertest.NewPostgres(t)
	a, b := following(t, server.URL), following(t, server.URL)
	for i := range 5 {
		f := &pb.Film{Name: fmt.Sprint("films/new", i)}
		for _, deleted := range []bool{false, true, false} {
			if f.DeleteTime = nil; deleted {
				f.DeleteTime = timestamppb.Now()
			}
			a.put(t, f)
			if deleted {
				continue
			}
			resp, err := b.RecordEvents(asService(t), &pb.RecordEventsRequest{Events: []*pb.Event{recent(f.GetName(), "ann"), recent("films/nope", "ann")}})
			require.NoError(t, err)
			require.Equal(t, pb.EventResult_ACCEPTED, resp.GetResults()[0].GetStatus(), resp.GetResults()[0].GetReason())
			require.Equal(t, "film: there is no such film", resp.GetResults()[1].GetReason())
		}
		a.put(t, &pb.Film{Name: fmt.Sprint("films/imported", i)})
		results, p, err := b.submitPatiently(asService(t), []*pb.Event{recent(fmt.Sprint("films/imported", i), "ann")})
		require.NoError(t, err)
		require.NoError(t, b.durable(t.Context(), p))
		require.Equal(t, pb.EventResult_ACCEPTED, results[0].GetStatus(), results[0].GetReason())
	}
	server.Stop()
	_, err := b.RecordEvents(asService(t), &pb.RecordEventsRequest{Events: []*pb.Event{recent("films/nope", "ann")}})
	require.True(t, fault.Is(err, pb.ErrorReason_STORE_UNAVAILABLE), err)
}

func TestViewersAreTheSameOnAllReplicas(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		a := start(t, open(t, url))
		var b *replica
		if a.db.Postgres() {
			b = start(t, open(t, url))
		} else {
			b = start(t, a.db)
		}
		kid := func(e *pb.Event) { e.Audience = pb.Viewer_KIDS }
		for _, r := range []*replica{a, b} {
			_, err := r.RecordEvents(asService(t), &pb.RecordEventsRequest{Events: []*pb.Event{recent("films/f1", "x"), recent("films/f1", "x", kid)}})
			require.NoError(t, err)
		}
		rows := a.rows(t)
		require.Len(t, rows, 4)
		assert.Equal(t, rows[0].Viewer, rows[2].Viewer, "adults")
		if rows[1].Day == rows[3].Day { // not across midnight
			assert.Equal(t, rows[1].Viewer, rows[3].Viewer, "children")
		}
		assert.NotEqual(t, rows[0].Viewer, rows[1].Viewer)
	})
}

func TestPurgeViewer(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		r := start(t, open(t, url))
		ctx := asService(t)
		_, err := r.RecordEvents(ctx, &pb.RecordEventsRequest{Events: []*pb.Event{
			recent("films/f1", "ann"), recent("films/f2", "ann"), recent("films/f1", "bob"), recent("films/f1", "ann", func(e *pb.Event) { e.Audience = pb.Viewer_KIDS }),
		}})
		require.NoError(t, err)
		before := r.rows(t)
		req := &pb.PurgeViewerRequest{ViewerKey: "ann", RequestId: "a8098c1a-f86e-11da-bd1a-00112444be1e"}
		for range 2 { // a retry has the same answer
			resp, err := r.PurgeViewer(ctx, req)
			require.NoError(t, err)
			assert.EqualValues(t, 3, resp.GetEventCount())
		}
		after := r.rows(t)
		require.Len(t, after, 4, "counts stay")
		assert.Equal(t, after[0].Viewer, after[1].Viewer, "still one viewer, but nobody knows who")
		assert.NotEqual(t, before[0].Viewer, after[0].Viewer)
		assert.NotEqual(t, before[3].Viewer, after[3].Viewer, "as a child too, while the key lives")
		assert.NotEqual(t, after[0].Viewer, after[3].Viewer)
		assert.Equal(t, before[2], after[2])

		resp, err := r.PurgeViewer(ctx, &pb.PurgeViewerRequest{ViewerKey: "ann"})
		require.NoError(t, err)
		assert.Zero(t, resp.GetEventCount())
		_, err = r.PurgeViewer(ctx, &pb.PurgeViewerRequest{ViewerKey: "bob", RequestId: req.GetRequestId()})
		require.True(t, fault.Is(err, pb.ErrorReason_REQUEST_ID_REUSED))
		_, err = r.PurgeViewer(auth.WithCaller(ctx, &auth.Caller{ID: "another"}), &pb.PurgeViewerRequest{ViewerKey: "bob", RequestId: req.GetRequestId()})
		require.NoError(t, err, "another caller's ids are its own")
		_, err = r.PurgeViewer(ctx, &pb.PurgeViewerRequest{})
		require.True(t, fault.Is(err, pb.ErrorReason_INVALID_FIELD))
	})
}

// TestSimulatedWeekLeavesNoTraceOfAChild lets two children play every day of a week and then
// scans everything the database stores.
func TestSimulatedWeekLeavesNoTraceOfAChild(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		r := start(t, open(t, url))
		r.stop()
		var clock atomic.Int64
		set := func(to time.Time) time.Time { clock.Store(to.UnixMicro()); return to }
		now := set(noon)
		r.now = func() time.Time { return time.UnixMicro(clock.Load()).UTC() }
		r.viewers.now = r.now
		r.queue.closed = false
		r.run(t)
		names := []string{"child-4711-secret-name", "child-0815-secret-name"}
		used := map[ledger.Viewer]bool{}
		var keys [][]byte
		for day := range 7 {
			now = set(noon.AddDate(0, 0, day))
			for _, name := range names {
				resp, err := r.RecordEvents(asService(t), &pb.RecordEventsRequest{Events: []*pb.Event{
					event(func(e *pb.Event) {
						e.Film, e.ViewerKey, e.Audience, e.OccurTime = "films/f1", name, pb.Viewer_KIDS, timestamppb.New(now)
					}),
					event(func(e *pb.Event) {
						e.Film, e.ViewerKey, e.Audience, e.OccurTime = "films/f2", name, 0, timestamppb.New(now.Add(-time.Minute))
					}),
				}})
				require.NoError(t, err)
				require.Empty(t, resp.GetResults()[0].GetReason())
			}
			require.NoError(t, r.expire(t.Context()))
			stored, err := dayKeys(t.Context(), r.db)
			require.NoError(t, err)
			assert.Len(t, stored, min(day+1, 3), "keys of today and the two days before")
			keys = append(keys, stored[ledger.DayOf(now.UnixMicro())])
		}
		for _, e := range r.rows(t) {
			used[e.Viewer] = true
		}
		assert.Len(t, used, 7*len(names), "no two days share a hash")

		now = set(noon.AddDate(0, 0, 10))
		require.NoError(t, r.expire(t.Context()))
		assert.Empty(t, r.viewers.kids)
		resp, err := r.RecordEvents(asService(t), &pb.RecordEventsRequest{Events: []*pb.Event{event(func(e *pb.Event) {
			e.Film, e.Audience, e.OccurTime = "films/f1", pb.Viewer_KIDS, timestamppb.New(now.Add(-47*time.Hour))
		})}})
		require.NoError(t, err)
		require.Empty(t, resp.GetResults()[0].GetReason())
		for name, cells := range everything(t, r.db) {
			for _, cell := range cells {
				for _, secret := range append(keys, []byte(names[0]), []byte(names[1])) {
					require.NotContains(t, string(cell), string(secret), name)
				}
			}
		}
		stored, err := dayKeys(t.Context(), r.db)
		require.NoError(t, err)
		require.Len(t, stored, 1)
		for _, name := range names { // whoever has the whole database and the child's name
			guesses, err := r.viewers.all(t.Context(), name)
			require.NoError(t, err)
			for _, guess := range guesses {
				assert.NotContains(t, used, guess)
			}
		}
	})
}

// TestDeadKeyIsNotInTheFile looks at the bytes of a closed SQLite file: what was deleted is
// overwritten.
func TestDeadKeyIsNotInTheFile(t *testing.T) {
	url := theatertest.SQLite(t)
	session := func(work func(db *sqldb.DB)) (file []byte) {
		db, err := sqldb.Open(t.Context(), url)
		require.NoError(t, err)
		work(db)
		require.NoError(t, db.Close())
		file, err = os.ReadFile(strings.TrimPrefix(url, "sqlite:"))
		require.NoError(t, err)
		return file
	}
	var key []byte
	file := session(func(db *sqldb.DB) {
		var err error
		key, err = dayKey(t.Context(), db, ledger.DayOf(noon.UnixMicro()))
		require.NoError(t, err)
		_, err = dayKey(t.Context(), db, ledger.DayOf(noon.UnixMicro())+1)
		require.NoError(t, err)
	})
	require.True(t, bytes.Contains(file, key), "or the test cannot see keys")
	file = session(func(db *sqldb.DB) { require.NoError(t, deleteDayKeys(t.Context(), db, noon.AddDate(0, 0, 3))) })
	require.False(t, bytes.Contains(file, key))
}

// everything gives every stored value of every table, as bytes, by table and column.
func everything(t testing.TB, db *sqldb.DB) map[string][][]byte {
	found := map[string][][]byte{}
	require.NoError(t, db.Read(t.Context(), func(tx *sqldb.Tx) error {
		query := `SELECT name FROM sqlite_master WHERE type = 'table'`
		if db.Postgres() {
			query = `SELECT tablename FROM pg_tables WHERE schemaname = 'public'`
		}
		names, err := tx.Query(query)
		if err != nil {
			return err
		}
		var tables []string
		for names.Next() {
			var name string
			if err := names.Scan(&name); err != nil {
				return err
			}
			tables = append(tables, name)
		}
		if err := errors.Join(names.Err(), names.Close()); err != nil {
			return err
		}
		for _, table := range tables {
			rows, err := tx.Query(`SELECT * FROM ` + table)
			if err != nil {
				return err
			}
			columns, err := rows.Columns()
			if err != nil {
				return err
			}
			for rows.Next() {
				cells := make([]any, len(columns))
				for i := range cells {
					cells[i] = new([]byte)
				}
				if err := rows.Scan(cells...); err != nil {
					return err
				}
				for i, c := range cells {
					found[table+"."+columns[i]] = append(found[table+"."+columns[i]], *c.(*[]byte))
				}
			}
			if err := errors.Join(rows.Err(), rows.Close()); err != nil {
				return err
			}
		}
		return nil
	}))
	require.Contains(t, found, "ledger_events.viewer", "or nothing was scanned")
	return found
}
