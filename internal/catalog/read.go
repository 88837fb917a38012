package catalog

import (
	"context"
	"fmt"
	"slices"
	"time"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/resource"
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
	if err := resource.CheckName("name", filmPrefix, req.GetName()); err != nil {
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
		if err := resource.CheckName(fmt.Sprintf("names[%d]", i), filmPrefix, name); err != nil {
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
	const method = serviceName + "ListFilms"
	size, from, err := resource.OpenPage(s.keys, method, req)
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
	now, at := s.shelf.Current(), s.clock.Now()
	slots := now.Select(filter, order, at, req.GetShowDeleted())
	if req.GetPageToken() == "" {
		from.Total = int32(len(slots))
	}
	begin := min(start(now, slots, order, req.GetOrderBy() != "", at, from), len(slots))
	slots = slots[begin:]
	resp := &pb.ListFilmsResponse{TotalSize: from.Total}
	for _, slot := range slots[:min(size, len(slots))] {
		resp.Films = append(resp.Films, film(now, now.At(slot), req.GetView()))
	}
	if len(slots) > size {
		last := now.At(slots[size-1])
		resp.NextPageToken, err = resource.SealPage(s.keys, method, req,
			resource.Position{Last: last.Name, Revision: last.Revision, Offset: begin + size, Total: from.Total})
	}
	return resp, err
}

// start is the index among the films selected where a chain goes on. Where the last film
// given was edited since and byKeys says that edits move films, its place may be another one
// and the count of films given is the better guide; where it merely no longer matches, the
// first match behind it is next.
func start(now *shelf.Snapshot, slots []uint32, order *shelf.Order, byKeys bool, at time.Time, from resource.Position) int {
	if from.Last == "" {
		return 0
	}
	last := now.Film(from.Last)
	if last == nil {
		return from.Offset
	}
	i := slices.Index(slots, last.Slot)
	switch moved := byKeys && last.Revision != from.Revision; {
	case i < 0 && moved:
		return max(from.Offset-1, 0)
	case moved:
		return from.Offset
	case i >= 0:
		return i + 1
	}
	matches := make(map[uint32]int, len(slots))
	for i, slot := range slots {
		matches[slot] = i
	}
	all := now.Select(nil, order, at, true)
	for _, slot := range all[slices.Index(all, last.Slot)+1:] {
		if i, ok := matches[slot]; ok {
			return i
		}
	}
	return len(slots)
}
