package listing

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	pb "github.com/aitheater/theater/api/theater/v1"
)

// Readers fill and read kept pages while the canary is hidden and shown a thousand times, once
// by its revision, once by the gate ahead of it. A read that begins after the change was
// acknowledged must agree with it, whatever is on its way into the cache.
func TestP3_NoLateFillBringsAFilmBack(t *testing.T) {
	h := newHouse(t)
	h.put(film("canary"), film("other"),
		&pb.Section{Name: "sections/mine", Source: byHand("canary", "other")},
		&pb.Section{Name: "sections/law", Source: fromRule("content_type = DRAMA", "")},
		&pb.Layout{Name: "layouts/home", Sections: []string{"sections/mine", "sections/hot", "sections/law"}})
	h.publish(list("hot", "canary", "other"))
	const name = "films/canary"
	// epoch is even while the canary is shown and odd while it is hidden; it is moved after the
	// change is acknowledged and before the next one begins.
	var epoch atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	var reads atomic.Int64
	for i := range 4 {
		readers.Go(func() {
			v := []*pb.Viewer{adult, child}[i%2]
			for ctx.Err() == nil {
				before := epoch.Load()
				messages := h.everything(name, v)
				if epoch.Load() != before || before < 0 {
					continue
				}
				reads.Add(1)
				for _, m := range messages {
					shown := slices.Contains(mentions(m), name)
					if hidden := before%2 == 1; hidden && shown {
						t.Errorf("%T shows a hidden film", m)
						stop()
					}
				}
			}
		})
	}
	for i := int64(1); i <= 1000 && ctx.Err() == nil; i++ {
		if i%2 == 1 {
			if i%4 == 1 {
				h.takeDown(name)
			} else {
				h.withdraw(name)
			}
			epoch.Store(i)
		} else {
			epoch.Store(i)
			h.reinstate(name)
		}
		if before := reads.Load(); i%20 == 1 {
			for reads.Load() < before+4 && ctx.Err() == nil {
				assert.Zero(t, len(mentionsOf(h, name)), "the writer's own next read")
			}
		}
	}
	stop()
	readers.Wait()
	require.Positive(t, reads.Load())
}

func mentionsOf(h *house, name string) []string {
	var out []string
	for _, m := range h.everything(name, adult) {
		for _, n := range mentions(m) {
			if n == name {
				out = append(out, n)
			}
		}
	}
	return out
}

func TestASpanLinksToTheComputationOfTheList(t *testing.T) {
	h := newHouse(t)
	h.put(film("a"))
	l := list("hot", "a")
	h.publish(l)
	recorder := tracetest.NewSpanRecorder()
	provider := sdk.NewTracerProvider(sdk.WithSpanProcessor(recorder))
	tracer := provider.Tracer("test")
	for _, kept := range []bool{false, true} {
		ctx, span := tracer.Start(t.Context(), "call")
		_, err := h.ListRankedFilms(ctx, ask("hot", adult))
		require.NoError(t, err)
		span.End()
		ended := recorder.Ended()
		got := ended[len(ended)-1]
		require.Len(t, got.Links(), 1)
		assert.EqualValues(t, l.TraceID, got.Links()[0].SpanContext.TraceID())
		assert.EqualValues(t, l.SpanID, got.Links()[0].SpanContext.SpanID())
		assert.Equal(t, kept, got.Attributes()[0].Value.AsBool())
	}
	require.NoError(t, provider.Shutdown(t.Context()))
}

func TestARuleSectionGoesOnOnAnotherReplica(t *testing.T) {
	h := newHouse(t)
	all := h.stock(30)
	h.shelves(false, &pb.Section{Name: "sections/mine", Source: fromRule("content_type = DRAMA", "title")})
	req := &pb.ListSectionFilmsRequest{Parent: "sections/mine", Viewer: adult, PageSize: 10}
	m, err := h.ListSectionFilms(t.Context(), req)
	require.NoError(t, err)
	h.put(film("aaa", func(f *pb.Film) { f.Localizations["en"].Title = "A" })) // before all others
	req.PageToken = m.GetNextPageToken()
	for name, s := range map[string]*Service{"this one": h.Service, "another": New(h.Config)} {
		n, err := s.ListSectionFilms(t.Context(), req)
		require.NoError(t, err)
		assert.Equal(t, all[10:20], namesOf(n.GetFilms()), name)
	}
}
