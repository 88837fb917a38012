package main

import (
	"context"
	"encoding/hex"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/theatertest"
)

const (
	writeTrace = "000000000000000000000000000a0001"
	eventTrace = "000000000000000000000000000a0002"
	hitTrace   = "000000000000000000000000000a0003"
	missTrace  = "000000000000000000000000000a0004"
	callerSpan = "00000000000000aa"
)

// traced makes a call part of a trace of the client's.
func traced(ctx context.Context, id string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "traceparent", "00-"+id+"-"+callerSpan+"-01")
}

// findSpan waits for a span of a trace whose name has a part.
func findSpan(t *testing.T, c *theatertest.Collector, trace, part string) *otlp.Span {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		var names []string
		for _, s := range c.Spans(trace) {
			if names = append(names, s.GetName()); strings.Contains(s.GetName(), part) {
				return s
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("trace %q has no span %q, only %q", trace, part, names)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// below reports whether a span stands under another one of its trace.
func below(c *theatertest.Collector, child, ancestor *otlp.Span) bool {
	parents := map[string]string{}
	for _, s := range c.Spans(hex.EncodeToString(child.GetTraceId())) {
		parents[string(s.GetSpanId())] = string(s.GetParentSpanId())
	}
	for id := string(child.GetSpanId()); id != ""; id = parents[id] {
		if id == string(ancestor.GetSpanId()) {
			return true
		}
	}
	return false
}

func hasAttribute(s *otlp.Span, key string) bool {
	for _, a := range s.GetAttributes() {
		if a.GetKey() == key {
			return true
		}
	}
	return false
}

// One trace goes from the client through the door and the handler to SQL and Redis; a page
// from memory links to the trace that computed its list, a fold to the events it counted.
func TestTracesTellTheWholeWay(t *testing.T) {
	t.Parallel()
	collector := theatertest.NewCollector(t)
	env := collector.Env()
	store, redis := "sqlite:"+filepath.Join(t.TempDir(), "theater.db"), theatertest.Redis(t)
	p := start(t, env, "serve", "--store", store, "--redis", redis)
	conn := dialTo(t, p.addrs.GRPC)
	catalog, listing, signals := pb.NewCatalogServiceClient(conn), pb.NewListingServiceClient(conn), pb.NewSignalServiceClient(conn)

	// A write: the client's span, ours, SQL below it.
	got := theater(t, filmLine("a", "")+"\n"+filmLine("b", ""), "import", "films", "-", "--server", p.addrs.GRPC, "--publish")
	require.Equal(t, exitOK, got.code, got.err)
	_, err := catalog.TakeDownFilm(traced(t.Context(), writeTrace), &pb.TakeDownFilmRequest{Name: "films/b"})
	require.NoError(t, err)
	_, err = catalog.ReinstateFilm(t.Context(), &pb.ReinstateFilmRequest{Name: "films/b"})
	require.NoError(t, err)
	door := findSpan(t, collector, writeTrace, "CatalogService/TakeDownFilm")
	assert.Equal(t, callerSpan, hex.EncodeToString(door.GetParentSpanId()), "the client's span is the parent")
	assert.Equal(t, otlp.Span_SPAN_KIND_SERVER, door.GetKind())
	sql := findSpan(t, collector, writeTrace, "sql")
	assert.True(t, hasAttribute(sql, "db.system"))
	assert.True(t, below(collector, sql, door), "SQL stands below the call")

	// An event: the fold that counted it links to it.
	events := []*pb.Event{}
	for _, film := range []string{"films/a", "films/b"} {
		events = append(events, &pb.Event{Film: film, ViewerKey: "v", Market: "US", Kind: pb.Event_LIKE, OccurTime: timestamppb.Now(), Audience: pb.Viewer_ADULT})
	}
	_, err = signals.RecordEvents(traced(t.Context(), eventTrace), &pb.RecordEventsRequest{Events: events})
	require.NoError(t, err)
	event := findSpan(t, collector, eventTrace, "SignalService/RecordEvents")
	assert.True(t, eventuallyTrue(func() bool {
		for _, s := range collector.Spans("") {
			for _, l := range s.GetLinks() {
				if s.GetName() == "rank.fold" && hex.EncodeToString(l.GetTraceId()) == eventTrace && string(l.GetSpanId()) == string(event.GetSpanId()) {
					return true
				}
			}
		}
		return false
	}), "a fold links to the event's span")

	// A hit: the page links to the trace of the computation.
	first := &pb.ListRankedFilmsRequest{Chart: "charts/hot", Viewer: &pb.Viewer{Market: "US", Audience: pb.Viewer_ADULT}, PageSize: 1}
	var page *pb.ListRankedFilmsResponse
	require.True(t, eventuallyTrue(func() bool {
		page, err = listing.ListRankedFilms(t.Context(), first)
		return err == nil && page.GetNextPageToken() != "" && page.GetGeneration().GetNumber() > 0
	}))
	_, err = listing.ListRankedFilms(traced(t.Context(), hitTrace), first)
	require.NoError(t, err)
	hit := findSpan(t, collector, hitTrace, "ListingService/ListRankedFilms")
	require.NotEmpty(t, hit.GetLinks())
	computation := findSpan(t, collector, hex.EncodeToString(hit.GetLinks()[0].GetTraceId()), "rank.")
	assert.NotEmpty(t, computation.GetName())

	// A miss: a server that does not have the token's list in memory asks Redis for it.
	require.True(t, eventuallyTrue(func() bool {
		record := &pb.RecordEventsRequest{Events: []*pb.Event{{Film: "films/a", ViewerKey: time.Now().String(), Market: "US", Kind: pb.Event_LIKE, OccurTime: timestamppb.Now(), Audience: pb.Viewer_ADULT}}}
		_, err := signals.RecordEvents(t.Context(), record)
		require.NoError(t, err)
		newer, err := listing.ListRankedFilms(t.Context(), first)
		return err == nil && newer.GetGeneration().GetNumber() > page.GetGeneration().GetNumber()
	}), "a newer list comes")
	code, _ := p.stop()
	require.Equal(t, exitOK, code)
	p = start(t, env, "serve", "--store", store, "--redis", redis)
	listing = pb.NewListingServiceClient(dialTo(t, p.addrs.GRPC))
	first.PageToken = page.GetNextPageToken()
	require.True(t, eventuallyTrue(func() bool { // Redis has 60 ms each time
		_, err = listing.ListRankedFilms(traced(t.Context(), missTrace), first)
		return err == nil
	}), "the older list is still in Redis")
	miss := findSpan(t, collector, missTrace, "ListingService/ListRankedFilms")
	assert.True(t, below(collector, findSpan(t, collector, missTrace, "get"), miss), "Redis stands below the call")

	// Metrics and logs go the same way; logs carry the trace.
	assert.True(t, eventuallyTrue(func() bool { return collector.HasMetric("rpc.server.call.duration") }))
	assert.True(t, eventuallyTrue(func() bool { return len(collector.Logs()) > 0 }))
	// The polls that run all the time are in no trace.
	for _, s := range collector.Spans("") {
		if len(s.GetParentSpanId()) == 0 {
			assert.NotContains(t, s.GetName(), "sql.", "SQL nobody asked for")
			assert.NotContains(t, s.GetName(), "redis", "Redis nobody asked for")
		}
	}
}

func eventuallyTrue(holds func() bool) bool {
	for deadline := time.Now().Add(45 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if holds() {
			return true
		}
	}
	return false
}
