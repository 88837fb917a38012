package app_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/app"
	"github.com/aitheater/theater/internal/theatertest"
	"github.com/aitheater/theater/internal/theatertest/house"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

var (
	adult = &pb.Viewer{Market: "US", Languages: []string{"en"}, Audience: pb.Viewer_ADULT}
	child = &pb.Viewer{Market: "US", Languages: []string{"en"}, Audience: pb.Viewer_KIDS, AgeBand: pb.Film_AGE_8}
)

// feature is a film that everybody in the US and GB may see, children of 8 too.
func feature(id string) *pb.Film {
	return &pb.Film{
		Name:            "films/" + id,
		DefaultLanguage: "en",
		Localizations:   map[string]*pb.FilmLocalization{"en": {Title: "Title of " + id}},
		Runtime:         durationpb.New(90 * time.Minute),
		ContentType:     pb.Film_FILM,
		AgeBand:         pb.Film_AGE_8,
		MinorsReview:    &pb.MinorsReview{Reviewer: "R", AgeBand: pb.Film_AGE_8, ReviewTime: timestamppb.New(time.Unix(1.7e9, 0))},
		Availability:    []*pb.Availability{{Markets: []string{"US", "GB"}}},
		Provenance:      &pb.Provenance{DigitalSourceType: "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"},
	}
}

// load imports films and publishes them.
func load(t testing.TB, h *house.House, films ...*pb.Film) {
	t.Helper()
	require.NoError(t, importAll(t.Context(), h, films))
}

// importAll imports films, and again where the database was too busy to answer.
func importAll(ctx context.Context, h *house.House, films []*pb.Film) error {
	for tries := 1; ; tries++ {
		if err := importOnce(ctx, h, films); status.Code(err) != codes.Unavailable || tries == 5 {
			return err
		}
		time.Sleep(time.Second)
	}
}

func importOnce(ctx context.Context, h *house.House, films []*pb.Film) error {
	stream, err := h.Catalog.ImportFilms(ctx)
	if err != nil {
		return err
	}
	for len(films) > 0 {
		n := min(500, len(films))
		// The reason of a failed Send is what Recv gives.
		_ = stream.Send(&pb.ImportFilmsRequest{Films: films[:n], Publish: true, CreateGenres: true})
		answer, err := stream.Recv()
		if err != nil {
			return err
		}
		for _, r := range answer.GetResults() {
			if !r.GetPublished() {
				return fmt.Errorf("%s: %s", r.GetName(), r.GetStatus())
			}
		}
		films = films[n:]
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	if _, err = stream.Recv(); errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// likes are n viewers' likes of a film.
func likes(film string, n int, at time.Time) []*pb.Event {
	events := make([]*pb.Event, n)
	for i := range events {
		events[i] = &pb.Event{
			Film: film, ViewerKey: fmt.Sprintf("%s-%d", film, i), Market: "US", Kind: pb.Event_LIKE,
			OccurTime: timestamppb.New(at.Add(-time.Duration(i) * time.Second)), Audience: pb.Viewer_ADULT,
		}
	}
	return events
}

func record(t testing.TB, h *house.House, events ...*pb.Event) {
	t.Helper()
	for len(events) > 0 {
		n := min(500, len(events))
		answer, err := h.Signals.RecordEvents(t.Context(), &pb.RecordEventsRequest{Events: events[:n]})
		require.NoError(t, err)
		for _, r := range answer.GetResults() {
			require.Equal(t, pb.EventResult_ACCEPTED, r.GetStatus(), r.GetReason())
		}
		events = events[n:]
	}
}

// eventually asks until a condition holds.
func eventually(t testing.TB, limit time.Duration, what string, holds func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !holds() {
		if time.Since(began) > limit {
			t.Fatalf("not within %s: %s", limit, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(began)
}

// hot gives the hot chart's films, all pages of it.
func hot(t testing.TB, h *house.House, v *pb.Viewer, size int32) (names []string) {
	t.Helper()
	req := &pb.ListRankedFilmsRequest{Chart: "charts/hot", Viewer: v, PageSize: size}
	for {
		page, err := h.Listing.ListRankedFilms(t.Context(), req)
		require.NoError(t, err)
		for _, f := range page.GetFilms() {
			names = append(names, f.GetCard().GetName())
		}
		if req.PageToken = page.GetNextPageToken(); req.PageToken == "" {
			return names
		}
	}
}

// pair starts two replicas over one PostgreSQL and one Redis.
func pair(t testing.TB) (a, b *house.House) {
	t.Helper()
	c := app.Config{Store: theatertest.Postgres(t), Redis: theatertest.Redis(t)}
	return house.Start(t, c), house.Start(t, c)
}

// revisionOf gives the theater-revision that a call was answered with.
func revisionOf(t testing.TB, trailer metadata.MD) string {
	t.Helper()
	require.Len(t, trailer.Get("theater-revision"), 1)
	return trailer.Get("theater-revision")[0]
}

func sameMessage(t testing.TB, want, got proto.Message) {
	t.Helper()
	if !proto.Equal(want, got) {
		t.Fatalf("want %v\ngot  %v", want, got)
	}
}

func mask(paths ...string) *fieldmaskpb.FieldMask { return &fieldmaskpb.FieldMask{Paths: paths} }
