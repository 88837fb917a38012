package rank

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/changes"
	"github.com/aitheater/theater/internal/generations"
	"github.com/aitheater/theater/internal/ledger"
	"github.com/aitheater/theater/internal/shelf"
	"github.com/aitheater/theater/internal/sqldb"
	"github.com/aitheater/theater/internal/theatertest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// house is what the ranker stands on: a real database and a real Redis.
type house struct {
	t     testing.TB
	url   string
	db    *sqldb.DB
	log   *changes.Log
	shelf *shelf.Shelf
	gens  *generations.Store
	keys  *auth.Keys
	*Service
	counts atomic.Pointer[map[string]*pb.FilmStats]
}

// stats are a film's published counts.
func (h *house) stats(film string) *pb.FilmStats { return (*h.counts.Load())[film] }

func open(t testing.TB, url, redisURL string) *house {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	db, err := sqldb.Open(ctx, url)
	require.NoError(t, err)
	h := &house{t: t, url: url, db: db, shelf: shelf.New()}
	h.keys, err = auth.NewKeys(db.RootSecret())
	require.NoError(t, err)
	h.log = changes.New(db, "replica")
	h.counts.Store(&map[string]*pb.FilmStats{})
	client := theatertest.RedisClient(redisURL)
	h.gens = generations.New(db, client, h.keys)
	h.gens.OnStats(func(m map[string]*pb.FilmStats) { h.counts.Store(&m) })
	done := make(chan struct{}, 2)
	ready := make(chan struct{})
	go func() { _ = h.log.Follow(ctx, h.shelf); done <- struct{}{} }()
	go func() { _ = h.gens.Run(ctx, ready); done <- struct{}{} }()
	<-ready
	<-h.log.Loaded() // before that, writes do not wait until they are seen
	h.Service = New(db, h.log, h.shelf, h.gens, h.keys)
	t.Cleanup(func() {
		cancel()
		<-done
		<-done
		_ = client.Close()
		require.NoError(t, db.Close())
	})
	return h
}

// film is a published film, open everywhere.
func film(name string, edit ...func(*pb.Film)) *pb.Film {
	f := &pb.Film{
		Name: "films/" + name, State: pb.Film_PUBLISHED, DefaultLanguage: "en", Localizations: map[string]*pb.FilmLocalization{"en": {Title: name}},
		Runtime: durationpb.New(90 * time.Minute), Form: pb.Film_FEATURE, ContentType: pb.Film_FILM,
		Availability: []*pb.Availability{{}}, FirstPublishTime: timestamppb.New(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)),
		Provenance: &pb.Provenance{DigitalSourceType: "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"},
	}
	for _, e := range edit {
		e(f)
	}
	return f
}

// put writes films as the catalogue would, and waits until the shelf has them.
func (h *house) put(films ...*pb.Film) {
	h.t.Helper()
	_, _, err := changes.Write(context.Background(), h.log, changes.Call{Actor: "test", Method: "test"}, func(w *changes.Writer) (*pb.Film, error) {
		for _, f := range films {
			f.Revision = w.Revision
			body, err := proto.Marshal(f)
			if err != nil {
				return nil, err
			}
			w.Put(changes.Change{Name: f.Name, Body: body})
		}
		return &pb.Film{}, nil
	})
	require.NoError(h.t, err)
}

// event is an event of an adult.
func event(film, viewer, market string, kind pb.Event_Kind, value float64, at time.Time) ledger.Event {
	e := ledger.Event{Film: "films/" + film, Market: market, Kind: kind, Value: value, Occur: at.UnixMicro(), Audience: pb.Viewer_ADULT}
	copy(e.Viewer[:], fmt.Sprintf("%-16s", viewer))
	e.Day = ledger.DayOf(e.Occur)
	return e
}

func (h *house) record(events ...ledger.Event) {
	h.t.Helper()
	require.NoError(h.t, h.ledger.Append(context.Background(), events, nil))
}

// lead makes this process the leader, without its loop.
func (h *house) lead() *leader {
	h.t.Helper()
	epoch, held, err := h.db.Lease(context.Background(), leaseName, h.holder, time.Minute)
	require.NoError(h.t, err)
	require.True(h.t, held)
	l, err := h.take(context.Background(), Config{Interval: time.Nanosecond}.filled(), epoch)
	require.NoError(h.t, err)
	return l
}

// run runs the ranker's loop for the rest of the test.
func (h *house) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	h.Config = Config{Interval: 50 * time.Millisecond, Tick: 10 * time.Millisecond}
	go func() { done <- h.Run(ctx) }()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			require.NoError(h.t, <-done)
		}
	}
	h.t.Cleanup(stop)
	return stop
}

func TestPlayReachesTheCharts(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		h := open(t, url, theatertest.Redis(t))
		h.put(film("a"), film("b"), film("c"))
		h.run()
		require.Eventually(t, func() bool { l := h.gens.Latest("charts/new", "US"); return l != nil && len(l.Entries) == 3 }, 30*time.Second, 10*time.Millisecond)
		now := time.Now()
		h.record(event("b", "v1", "US", pb.Event_PLAY, 60, now), event("b", "v1", "US", pb.Event_PLAY, 90, now), event("a", "v2", "US", pb.Event_SHARE, 0, now))
		require.Eventually(t, func() bool { l := h.gens.Latest("charts/hot", "US"); return l != nil && len(l.Entries) == 2 }, 30*time.Second, 10*time.Millisecond)
		l := h.gens.Latest("charts/hot", "US")
		require.Equal(t, "films/a", l.Entries[0].Film)
		require.Equal(t, int32(1), l.Entries[0].Rank)
		require.Equal(t, 2, l.Head)
		require.Equal(t, "US", l.Market)
		require.Equal(t, generations.World, h.gens.Latest("charts/hot", "FR").Market)
		require.Eventually(t, func() bool {
			answer, err := h.ExplainRank(context.Background(), &pb.ExplainRankRequest{Chart: "charts/most-watched", Market: "US", Film: "films/b"})
			require.NoError(t, err)
			return answer.Rank == 1 && answer.Components[0].Value == 90
		}, 30*time.Second, 20*time.Millisecond)
	})
}
