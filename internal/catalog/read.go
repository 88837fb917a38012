package catalog

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/shelf"
)

// film is an entry as an answer holds it.
func film(now *shelf.Snapshot, e *shelf.Entry, view pb.Film_View) *pb.Film {
	f := e.Film()
	f.Stats = now.Stats(e.Slot)
	if view == pb.Film_BASIC {
		basic(f)
	}
	return f
}

// GetFilm implements pb.CatalogServiceServer.
func (s *Service) GetFilm(_ context.Context, req *pb.GetFilmRequest) (*pb.Film, error) {
	if err := checkName("name", filmPrefix, req.GetName()); err != nil {
		return nil, err
	}
	now := s.shelf.Current()
	e := now.Film(req.GetName())
	if e == nil {
		return nil, fault.FilmNotFound()
	}
	return film(now, e, req.GetView()), nil
}

// BatchGetFilms implements pb.CatalogServiceServer.
func (s *Service) BatchGetFilms(_ context.Context, req *pb.BatchGetFilmsRequest) (*pb.BatchGetFilmsResponse, error) {
	for i, name := range req.GetNames() {
		if err := checkName(fmt.Sprintf("names[%d]", i), filmPrefix, name); err != nil {
			return nil, err
		}
	}
	now, resp := s.shelf.Current(), &pb.BatchGetFilmsResponse{}
	for _, name := range req.GetNames() {
		if e := now.Film(name); e != nil {
			resp.Films = append(resp.Films, film(now, e, req.GetView()))
		} else {
			resp.MissingNames = append(resp.MissingNames, name)
		}
	}
	return resp, nil
}

// ListFilms implements pb.CatalogServiceServer. A page begins after the last film of the one
// before, wherever that stands now, so that films which come and go in between neither
// repeat nor hide the others.
func (s *Service) ListFilms(_ context.Context, req *pb.ListFilmsRequest) (*pb.ListFilmsResponse, error) {
	bind := proto.CloneOf(req)
	bind.PageSize, bind.PageToken = 0, ""
	size, from, err := s.openPage("ListFilms", req, bind)
	if err != nil {
		return nil, err
	}
	filter, err := shelf.CompileFilter(req.GetFilter())
	if err != nil {
		return nil, err
	}
	order, err := shelf.CompileOrder(req.GetOrderBy())
	if err != nil {
		return nil, err
	}
	now := s.shelf.Current()
	slots := now.Select(filter, order, s.clock.Now(), req.GetShowDeleted())
	if req.GetPageToken() == "" {
		from.Total = int32(len(slots))
	}
	slots = slots[min(from.start(func(i int) string { return now.At(slots[i]).Name }, len(slots)), len(slots)):]
	resp := &pb.ListFilmsResponse{TotalSize: from.Total}
	for i, slot := range slots {
		if i == size {
			from.Offset += size
			from.Last = now.At(slots[i-1]).Name
			resp.NextPageToken, err = s.sealPage("ListFilms", from, bind)
			break
		}
		resp.Films = append(resp.Films, film(now, now.At(slot), req.GetView()))
	}
	return resp, err
}
