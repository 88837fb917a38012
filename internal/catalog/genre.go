package catalog

import (
	"context"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/changes"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/masks"
	"github.com/aitheater/theater/internal/resource"
	"github.com/aitheater/theater/internal/texts"
)

func checkGenre(g *pb.Genre) error {
	broken, err := resource.Schema("genre", g)
	if err != nil {
		return err
	}
	return append(broken, texts.Titles("genre.display_names", g.GetDisplayNames())...).Err()
}

// sealGenre stamps a changed genre and gives the change to store; nil when nothing changed.
func sealGenre(w *changes.Writer, old, g *pb.Genre) (*changes.Change, error) {
	tag, err := resource.Fingerprint(&pb.Genre{Name: g.GetName(), DisplayNames: g.GetDisplayNames(), Children: g.GetChildren()})
	if err != nil {
		return nil, err
	}
	if old != nil && tag == old.GetEtag() {
		return nil, nil
	}
	g.Etag, g.Revision, g.UpdateTime = tag, w.Revision, timestamppb.New(w.Now)
	if old == nil {
		g.CreateTime = g.UpdateTime
	}
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(g)
	if err != nil {
		return nil, err
	}
	return &changes.Change{Name: g.GetName(), Body: body}, nil
}

// spelled is a genre made from its slug alone, as ImportFilms does when asked.
func spelled(slug string) *pb.Genre {
	words := strings.ReplaceAll(slug, "-", " ")
	return &pb.Genre{Name: genrePrefix + slug, DisplayNames: map[string]string{"en": strings.ToUpper(words[:1]) + words[1:]}}
}

// CreateGenre implements pb.CatalogServiceServer.
func (s *Service) CreateGenre(ctx context.Context, req *pb.CreateGenreRequest) (*pb.Genre, error) {
	if err := auth.CallerFrom(ctx).Everywhere(); err != nil {
		return nil, err
	}
	name, err := resource.NewName(genrePrefix, "genre_id", req.GetGenreId(), "genre.name", req.GetGenre().GetName())
	if err != nil {
		return nil, err
	}
	genre, _, err := changes.Write(ctx, s.log, call(ctx, "CreateGenre", req), func(w *changes.Writer) (*pb.Genre, error) {
		found, err := w.Get(name)
		if err != nil {
			return nil, err
		}
		if _, taken := found[name]; taken {
			return nil, fault.New(fault.AlreadyExists, pb.ErrorReason_ALREADY_EXISTS, "%s exists", name)
		}
		g := &pb.Genre{}
		if req.GetGenre() != nil {
			g = proto.CloneOf(req.GetGenre())
		}
		masks.ClearOutput(g)
		g.Name, g.Etag = name, ""
		if err := checkGenre(g); err != nil {
			return nil, err
		}
		put, err := sealGenre(w, nil, g)
		if err != nil {
			return nil, err
		}
		w.Put(*put)
		return g, nil
	})
	return genre, err
}

// editGenre changes a stored genre by mask; put is nil when nothing differs.
func editGenre(w *changes.Writer, from *pb.Genre, mask *fieldmaskpb.FieldMask) (g *pb.Genre, put *changes.Change, err error) {
	name := from.GetName()
	found, err := w.Get(name)
	if err != nil {
		return nil, nil, err
	}
	r, ok := found[name]
	if !ok {
		return nil, nil, fault.Missing(name)
	}
	old := &pb.Genre{}
	if err := proto.Unmarshal(r.Body, old); err != nil {
		return nil, nil, err
	}
	if err := resource.CheckEtag(name, from.GetEtag(), old.GetEtag()); err != nil {
		return nil, nil, err
	}
	m, err := masks.Parse("update_mask", mask, old)
	if err != nil {
		return nil, nil, err
	}
	g, sent := proto.CloneOf(old), proto.CloneOf(from)
	masks.ClearOutput(sent)
	m.Apply(g, sent)
	if err := checkGenre(g); err != nil {
		return nil, nil, err
	}
	if put, err = sealGenre(w, old, g); put == nil {
		return old, nil, err
	}
	return g, put, nil
}

// UpdateGenre implements pb.CatalogServiceServer.
func (s *Service) UpdateGenre(ctx context.Context, req *pb.UpdateGenreRequest) (*pb.Genre, error) {
	if err := auth.CallerFrom(ctx).Everywhere(); err != nil {
		return nil, err
	}
	name := req.GetGenre().GetName()
	if err := resource.CheckName("genre.name", genrePrefix, name); err != nil {
		return nil, err
	}
	genre, _, err := changes.Write(ctx, s.log, call(ctx, "UpdateGenre", req), func(w *changes.Writer) (*pb.Genre, error) {
		g, put, err := editGenre(w, req.GetGenre(), req.GetUpdateMask())
		if put != nil {
			w.Put(*put)
		}
		return g, err
	})
	return genre, err
}

// ListGenres implements pb.CatalogServiceServer.
func (s *Service) ListGenres(_ context.Context, req *pb.ListGenresRequest) (*pb.ListGenresResponse, error) {
	genres, next, total, err := resource.Page(s.keys, serviceName+"ListGenres", req, s.shelf.Current().Genres(), (*pb.Genre).GetName)
	return &pb.ListGenresResponse{Genres: genres, NextPageToken: next, TotalSize: total}, err
}
