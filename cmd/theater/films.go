package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/aitheater/theater/api/theater/v1"
)

func runImportFilms(ctx context.Context, std console, c *config, args []string) error {
	conn, err := c.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	t := newTally(std, "films")
	im := &importer[*pb.Film, pb.ImportFilmsRequest, pb.ImportFilmsResponse]{
		open: pb.NewCatalogServiceClient(conn).ImportFilms,
		request: func(films []*pb.Film) *pb.ImportFilmsRequest {
			return &pb.ImportFilmsRequest{Films: films, Publish: c.Publish, CreateGenres: c.CreateGenres}
		},
		answered: func(batch []line[*pb.Film], res *pb.ImportFilmsResponse) {
			for i, r := range res.GetResults() {
				t.film(batch[i], r)
			}
		},
	}
	return load(ctx, std, c, t, args[0], func() *pb.Film { return new(pb.Film) }, im)
}

// film counts what became of a film.
func (t *tally) film(sent line[*pb.Film], r *pb.ImportResult) {
	if r.GetOutcome() == pb.ImportResult_REJECTED {
		t.refuse(sent.number, strings.TrimSpace(sent.item.GetName()+" "+r.GetStatus().GetMessage()))
		return
	}
	t.count(strings.ToLower(r.GetOutcome().String()))
	if r.GetPublished() {
		t.count(outcomePublished)
	}
	if r.GetStatus() == nil {
		return
	}
	t.count(outcomeHeld)
	for _, reason := range reasons(status.FromProto(r.GetStatus())) {
		t.explain(reason)
	}
}

// reasons are the rules that a status says are not met, else its message.
func reasons(s *status.Status) (list []string) {
	for _, d := range s.Details() {
		if p, ok := d.(*errdetails.PreconditionFailure); ok {
			for _, v := range p.GetViolations() {
				list = append(list, v.GetType()+": "+v.GetDescription())
			}
		}
	}
	if len(list) == 0 {
		list = []string{s.Message()}
	}
	return list
}

func runImportEvents(ctx context.Context, std console, c *config, args []string) error {
	conn, err := c.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	t := newTally(std, "events")
	im := &importer[*pb.Event, pb.ImportEventsRequest, pb.ImportEventsResponse]{
		open: pb.NewSignalServiceClient(conn).ImportEvents,
		request: func(events []*pb.Event) *pb.ImportEventsRequest {
			return &pb.ImportEventsRequest{Events: events}
		},
		answered: func(batch []line[*pb.Event], res *pb.ImportEventsResponse) {
			for i, r := range res.GetResults() {
				if r.GetStatus() == pb.EventResult_ACCEPTED {
					t.count("accepted")
				} else {
					t.refuse(batch[i].number, r.GetReason())
				}
			}
		},
	}
	return load(ctx, std, c, t, args[0], func() *pb.Event { return new(pb.Event) }, im)
}

func runExportFilms(ctx context.Context, std console, c *config, _ []string) error {
	conn, err := c.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	client := pb.NewCatalogServiceClient(conn)
	t := newTally(std, "films")
	defer t.end()
	write := func(f *pb.Film) error {
		text, err := jsonLine(f)
		if err != nil {
			return fmt.Errorf("%s: %w", f.GetName(), err)
		}
		t.count("written")
		_, err = std.out.Write(text)
		return err
	}
	stream, err := client.ExportFilms(ctx, &pb.ExportFilmsRequest{Filter: c.Filter, ShowDeleted: c.ShowDeleted})
	for err == nil {
		var res *pb.ExportFilmsResponse
		if res, err = stream.Recv(); err != nil {
			break
		}
		if token := res.GetResumeToken(); token != "" {
			fmt.Fprintf(std.err, "WatchFilms goes on from resume_token %s\n", token)
			continue
		}
		err = write(res.GetFilm())
	}
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case status.Code(err) == codes.Unimplemented:
		return exportPages(ctx, client, c, write)
	}
	return c.explain(err)
}

// exportPages exports from a server that does not stream.
func exportPages(ctx context.Context, client pb.CatalogServiceClient, c *config, write func(*pb.Film) error) error {
	req := &pb.ListFilmsRequest{Filter: c.Filter, ShowDeleted: c.ShowDeleted, PageSize: 100, View: pb.Film_FULL}
	for {
		page, err := client.ListFilms(ctx, req)
		if err != nil {
			return c.explain(err)
		}
		for _, f := range page.GetFilms() {
			if err := write(f); err != nil {
				return err
			}
		}
		if req.PageToken = page.GetNextPageToken(); req.PageToken == "" {
			return nil
		}
	}
}
