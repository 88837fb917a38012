package client_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/theatertest"
)

var adult = &pb.Viewer{Market: "US", Languages: []string{"en"}, Audience: pb.Viewer_ADULT}

func feature(id string) *pb.Film {
	return &pb.Film{
		Name: "films/" + id, DefaultLanguage: "en", Runtime: durationpb.New(90 * time.Minute), ContentType: pb.Film_FILM,
		Localizations: map[string]*pb.FilmLocalization{"en": {Title: "Title of " + id}, "zh-Hans": {Title: "甲的标题"}},
		Availability:  []*pb.Availability{{Markets: []string{"US"}}},
		Provenance:    &pb.Provenance{DigitalSourceType: "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"},
	}
}

// season puts in films a to e, liked 50, 40 … 10 times, and waits until each server has the
// chart.
func season(t testing.TB, catalog pb.CatalogServiceClient, signals pb.SignalServiceClient, servers ...pb.ListingServiceClient) {
	t.Helper()
	films, events := &pb.ImportFilmsRequest{Publish: true}, &pb.RecordEventsRequest{}
	for i, id := range []string{"a", "b", "c", "d", "e"} {
		films.Films = append(films.Films, feature(id))
		for n := range 10 * (5 - i) {
			events.Events = append(events.Events, &pb.Event{
				Film: "films/" + id, ViewerKey: fmt.Sprint(id, n), Market: "US", Kind: pb.Event_LIKE,
				OccurTime: timestamppb.Now(), Audience: pb.Viewer_ADULT,
			})
		}
	}
	stream, err := catalog.ImportFilms(t.Context())
	require.NoError(t, err)
	require.NoError(t, stream.Send(films))
	answer, err := stream.Recv()
	require.NoError(t, err)
	for _, r := range answer.GetResults() {
		require.True(t, r.GetPublished(), "%s", r.GetStatus())
	}
	require.NoError(t, stream.CloseSend())
	_, err = stream.Recv()
	require.ErrorIs(t, err, io.EOF) // from now on the films are known
	recorded, err := signals.RecordEvents(t.Context(), events)
	require.NoError(t, err)
	for _, r := range recorded.GetResults() {
		require.Equal(t, pb.EventResult_ACCEPTED, r.GetStatus(), r.GetReason())
	}
	for _, listing := range servers {
		require.Eventually(t, func() bool {
			page, err := listing.ListRankedFilms(t.Context(), &pb.ListRankedFilmsRequest{Chart: "charts/hot", Viewer: adult})
			return err == nil && len(page.GetFilms()) == 5
		}, time.Minute, 50*time.Millisecond, "the chart never filled")
	}
}

// schema is ours and all it imports as a FileDescriptorSet, imports first, and what errors
// are made of: the same as "buf build -o FILE" writes.
func schema(t testing.TB) []byte {
	t.Helper()
	set, seen := &descriptorpb.FileDescriptorSet{}, map[string]bool{}
	var add func(protoreflect.FileDescriptor)
	add = func(f protoreflect.FileDescriptor) {
		if seen[f.Path()] {
			return
		}
		seen[f.Path()] = true
		for i := range f.Imports().Len() {
			add(f.Imports().Get(i).FileDescriptor)
		}
		set.File = append(set.File, protodesc.ToFileDescriptorProto(f))
	}
	for _, f := range []protoreflect.FileDescriptor{
		pb.File_theater_v1_listing_service_proto, pb.File_theater_v1_catalog_service_proto,
		errdetails.File_google_rpc_error_details_proto,
	} {
		add(f)
	}
	b, err := proto.Marshal(set)
	require.NoError(t, err)
	return b
}

// npm gives a folder with what testdata/NAME holds and the packages its lock file pins.
func npm(t testing.TB, name string) string {
	t.Helper()
	program := theatertest.Program(t, "npm", "npm")
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Join("testdata", name))))
	cmd := exec.Command(program, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "npm ci: %s", out)
	return dir
}
