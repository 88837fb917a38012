package catalog

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/changes"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/resource"
	"github.com/aitheater/theater/internal/shelf"
	"github.com/aitheater/theater/internal/sqldb"
)

const (
	serviceName = "theater.v1.CatalogService/"
	filmPrefix  = "films/"
	genrePrefix = "genres/"
)

// Service is CatalogService.
type Service struct {
	pb.UnimplementedCatalogServiceServer
	log   *changes.Log
	shelf *shelf.Shelf
	keys  *auth.Keys
	clock *sqldb.Clock

	stage Stage
	// denied is told of films of an import that its caller may not change.
	denied func(ctx context.Context, method, resource, why string)

	heartbeat, slowAfter time.Duration
}

// New makes the service. sh must be followed by log, or no write is ever confirmed.
func New(log *changes.Log, sh *shelf.Shelf, keys *auth.Keys, clock *sqldb.Clock) *Service {
	return &Service{log: log, shelf: sh, keys: keys, clock: clock, heartbeat: heartbeatEvery, slowAfter: slowAfter,
		denied: func(context.Context, string, string, string) {}}
}

// OnDenied says whom to tell of a part of a call that was refused for lack of permission
// though the call goes on. Call it before serving.
func (s *Service) OnDenied(tell func(ctx context.Context, method, resource, why string)) {
	s.denied = tell
}

// mutation is what all writing requests of one resource share.
type mutation interface {
	proto.Message
	GetRequestId() string
	GetValidateOnly() bool
}

func call(ctx context.Context, method string, req mutation) changes.Call {
	return changes.Call{
		Actor: auth.CallerFrom(ctx).ID, Method: serviceName + method,
		RequestID: req.GetRequestId(), Args: req, ValidateOnly: req.GetValidateOnly(),
	}
}

// vocabulary is the genres a write may speak of, by slug, as of that write.
type vocabulary map[string]*pb.Genre

func (v vocabulary) knows(slug string) bool { return v[slug] != nil }

// children reports whether a genre of the film is made for children.
func (v vocabulary) children(f *pb.Film) bool {
	for _, slug := range f.GetGenres() {
		if v[slug].GetChildren() {
			return true
		}
	}
	return false
}

// learn adds the genres of films to the vocabulary, those that exist.
func (v vocabulary) learn(w *changes.Writer, films ...*pb.Film) error {
	var names []string
	for _, f := range films {
		for _, slug := range f.GetGenres() {
			if _, asked := v[slug]; !asked && resource.IsID(slug) {
				v[slug] = nil
				names = append(names, genrePrefix+slug)
			}
		}
	}
	if len(names) == 0 {
		return nil
	}
	found, err := w.Get(names...)
	if err != nil {
		return err
	}
	for name, r := range found {
		g := &pb.Genre{}
		if err := proto.Unmarshal(r.Body, g); err != nil {
			return err
		}
		v[name[len(genrePrefix):]] = g
	}
	return nil
}

// loadFilm reads a film as of a write.
func loadFilm(w *changes.Writer, name string) (*pb.Film, error) {
	found, err := w.Get(name)
	if err != nil {
		return nil, err
	}
	r, ok := found[name]
	if !ok {
		return nil, fault.FilmNotFound()
	}
	f := &pb.Film{}
	return f, proto.Unmarshal(r.Body, f)
}

// withStats adds the film's counts as of now, none for a film that is new.
func (s *Service) withStats(f *pb.Film) *pb.Film {
	f.Stats = &pb.FilmStats{}
	now := s.shelf.Current()
	if slot, ok := now.Slot(f.GetName()); ok {
		f.Stats = now.Stats(slot)
	}
	return f
}
