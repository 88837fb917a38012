package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/aitheater/theater/api/theater/v1"
)

// Loaded is what Load put in.
type Loaded struct{ Films, Features, CountedEvents int }

// Load puts the season and its audience into a running service through its own front door.
// It may be called again on a store that has them: films are updated, events added.
func Load(ctx context.Context, conn grpc.ClientConnInterface, now time.Time) (Loaded, error) {
	var done Loaded
	catalog := pb.NewCatalogServiceClient(conn)
	for _, g := range Genres() {
		_, err := catalog.CreateGenre(ctx, &pb.CreateGenreRequest{GenreId: g.Name[len("genres/"):], Genre: g})
		if err != nil && status.Code(err) != codes.AlreadyExists {
			return done, fmt.Errorf("genre %s: %w", g.Name, err)
		}
	}
	films := Films(now)
	if err := importFilms(ctx, catalog, films); err != nil {
		return done, err
	}
	done.Films = len(films)
	for _, f := range films {
		if f.GetRuntime().AsDuration() >= 15*time.Minute {
			done.Features++
		}
	}
	events := Events(now)
	signals := pb.NewSignalServiceClient(conn)
	for len(events) > 0 {
		n := min(500, len(events))
		answer, err := signals.RecordEvents(ctx, &pb.RecordEventsRequest{Events: events[:n]})
		if err != nil {
			return done, fmt.Errorf("events: %w", err)
		}
		for _, r := range answer.GetResults() {
			if r.GetStatus() != pb.EventResult_ACCEPTED {
				return done, fmt.Errorf("events: %s", r.GetReason())
			}
			done.CountedEvents++
		}
		events = events[n:]
	}
	return done, nil
}

func importFilms(ctx context.Context, catalog pb.CatalogServiceClient, films []*pb.Film) error {
	stream, err := catalog.ImportFilms(ctx)
	if err != nil {
		return err
	}
	if err := stream.Send(&pb.ImportFilmsRequest{Films: films, Publish: true}); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	for {
		answer, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, r := range answer.GetResults() {
			if r.GetOutcome() == pb.ImportResult_REJECTED || !r.GetPublished() {
				return fmt.Errorf("%s: %s", r.GetName(), r.GetStatus().GetMessage())
			}
		}
	}
}
