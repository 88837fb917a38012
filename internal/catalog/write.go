package catalog

import (
	"context"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/changes"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/masks"
	"github.com/aitheater/theater/internal/resource"
	"github.com/aitheater/theater/internal/texts"
)

// confirmWithin is how long a take-down waits for the other replicas.
const confirmWithin = time.Second

// CreateFilm implements pb.CatalogServiceServer.
func (s *Service) CreateFilm(ctx context.Context, req *pb.CreateFilmRequest) (*pb.Film, error) {
	name, err := resource.NewName(filmPrefix, "film_id", req.GetFilmId(), "film.name", req.GetFilm().GetName())
	if err != nil {
		return nil, err
	}
	film, _, err := changes.Write(ctx, s.log, call(ctx, "CreateFilm", req), func(w *changes.Writer) (*pb.Film, error) {
		found, err := w.Get(name)
		if err != nil {
			return nil, err
		}
		if _, taken := found[name]; taken {
			return nil, fault.New(fault.AlreadyExists, pb.ErrorReason_ALREADY_EXISTS, "%s exists, or is deleted and not yet purged", name)
		}
		f := newFilm(name, req.GetFilm())
		genres := vocabulary{}
		if err := genres.learn(w, f); err != nil {
			return nil, err
		}
		if err := checkFilm("film", f, genres.knows); err != nil {
			return nil, err
		}
		if err := permit(auth.CallerFrom(ctx), nil, f); err != nil {
			return nil, err
		}
		put, err := seal(w, nil, f, "")
		if err != nil {
			return nil, err
		}
		w.Put(*put)
		return s.withStats(f), nil
	})
	return film, err
}

// newFilm is a draft with the fields a client may set.
func newFilm(name string, sent *pb.Film) *pb.Film {
	f := &pb.Film{}
	if sent != nil {
		f = proto.CloneOf(sent)
	}
	masks.ClearOutput(f)
	f.Name, f.Uid, f.Etag, f.State = name, uuid.NewString(), "", pb.Film_DRAFT
	return f
}

// UpdateFilm implements pb.CatalogServiceServer.
func (s *Service) UpdateFilm(ctx context.Context, req *pb.UpdateFilmRequest) (*pb.Film, error) {
	if err := resource.CheckName("film.name", filmPrefix, req.GetFilm().GetName()); err != nil {
		return nil, err
	}
	mask, err := masks.Parse("update_mask", req.GetUpdateMask(), &pb.Film{})
	if err != nil {
		return nil, err
	}
	return s.edit(ctx, call(ctx, "UpdateFilm", req), req.GetFilm(), edit{path: "film", change: replaceFields(req.GetFilm(), mask)})
}

// UpdateLocalization implements pb.CatalogServiceServer.
func (s *Service) UpdateLocalization(ctx context.Context, req *pb.UpdateLocalizationRequest) (*pb.Film, error) {
	c := &checker{}
	if !texts.WellFormed(req.GetLanguage()) {
		c.Add("language", "must be a well-formed BCP-47 language tag")
	}
	if req.GetLocalization() != nil {
		c.localization("localization", req.GetLocalization())
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	return s.edit(ctx, call(ctx, "UpdateLocalization", req), req, edit{path: "film", change: func(f *pb.Film, _ time.Time) error {
		if f.GetDeleteTime() != nil {
			return wrongState(f, "UpdateLocalization", "films that are not deleted")
		}
		key, ok := texts.Find(f.GetLocalizations(), req.GetLanguage())
		switch {
		case req.GetLocalization() == nil:
			delete(f.GetLocalizations(), key)
			return nil
		case !ok:
			key = req.GetLanguage()
		}
		if f.Localizations == nil {
			f.Localizations = map[string]*pb.FilmLocalization{}
		}
		sent := proto.CloneOf(req.GetLocalization())
		masks.ClearOutput(sent)
		f.Localizations[key] = sent
		return nil
	}})
}

// SubmitFilm implements pb.CatalogServiceServer.
func (s *Service) SubmitFilm(ctx context.Context, req *pb.SubmitFilmRequest) (*pb.Film, error) {
	return s.edit(ctx, call(ctx, "SubmitFilm", req), req, edit{change: move("SubmitFilm", pb.Film_IN_REVIEW, pb.Film_DRAFT)})
}

// ReturnFilm implements pb.CatalogServiceServer.
func (s *Service) ReturnFilm(ctx context.Context, req *pb.ReturnFilmRequest) (*pb.Film, error) {
	return s.edit(ctx, call(ctx, "ReturnFilm", req), req, edit{change: move("ReturnFilm", pb.Film_DRAFT, pb.Film_IN_REVIEW)})
}

// PublishFilm implements pb.CatalogServiceServer.
func (s *Service) PublishFilm(ctx context.Context, req *pb.PublishFilmRequest) (*pb.Film, error) {
	return s.edit(ctx, call(ctx, "PublishFilm", req), req, edit{change: move("PublishFilm", pb.Film_PUBLISHED, pb.Film_DRAFT, pb.Film_IN_REVIEW)})
}

// WithdrawFilm implements pb.CatalogServiceServer.
func (s *Service) WithdrawFilm(ctx context.Context, req *pb.WithdrawFilmRequest) (*pb.Film, error) {
	return s.edit(ctx, call(ctx, "WithdrawFilm", req), req, edit{withdrawal: true, change: move("WithdrawFilm", pb.Film_DRAFT, pb.Film_PUBLISHED)})
}

// ReinstateFilm implements pb.CatalogServiceServer.
func (s *Service) ReinstateFilm(ctx context.Context, req *pb.ReinstateFilmRequest) (*pb.Film, error) {
	return s.edit(ctx, call(ctx, "ReinstateFilm", req), req, edit{change: reinstate})
}

// DeleteFilm implements pb.CatalogServiceServer.
func (s *Service) DeleteFilm(ctx context.Context, req *pb.DeleteFilmRequest) (*pb.Film, error) {
	return s.edit(ctx, call(ctx, "DeleteFilm", req), req, edit{change: remove, withdrawal: true})
}

// UndeleteFilm implements pb.CatalogServiceServer.
func (s *Service) UndeleteFilm(ctx context.Context, req *pb.UndeleteFilmRequest) (*pb.Film, error) {
	return s.edit(ctx, call(ctx, "UndeleteFilm", req), req, edit{change: restore})
}

// target is which film a request means and which version of it.
type target interface {
	GetName() string
	GetEtag() string
}

// edit runs one change of one film as one write.
func (s *Service) edit(ctx context.Context, c changes.Call, of target, e edit) (*pb.Film, error) {
	if err := resource.CheckName("name", filmPrefix, of.GetName()); err != nil {
		return nil, err
	}
	e.by = auth.CallerFrom(ctx)
	film, _, err := changes.Write(ctx, s.log, c, func(w *changes.Writer) (*pb.Film, error) {
		f, err := e.apply(w, of.GetName(), of.GetEtag())
		if err != nil {
			return nil, err
		}
		return s.withStats(f), nil
	})
	return film, err
}

// TakeDownFilm implements pb.CatalogServiceServer.
func (s *Service) TakeDownFilm(ctx context.Context, req *pb.TakeDownFilmRequest) (*pb.TakeDownFilmResponse, error) {
	if err := resource.CheckName("name", filmPrefix, req.GetName()); err != nil {
		return nil, err
	}
	if rule := texts.Body(req.GetReason()); rule != "" {
		return nil, fault.Invalid("reason", "%s", rule)
	}
	down := edit{by: auth.CallerFrom(ctx), withdrawal: true, note: req.GetReason(), change: func(f *pb.Film, _ time.Time) error {
		return takeDown(f, req.GetReason(), req.GetMarkets())
	}}
	resp, _, err := changes.Write(ctx, s.log, call(ctx, "TakeDownFilm", req), func(w *changes.Writer) (*pb.TakeDownFilmResponse, error) {
		f, err := down.apply(w, req.GetName(), req.GetEtag())
		if err != nil {
			return nil, err
		}
		return &pb.TakeDownFilmResponse{Film: s.withStats(f), Revision: f.GetRevision()}, nil
	})
	if err != nil || req.GetValidateOnly() {
		return resp, err
	}
	confirmed, pending, lost := s.log.Confirm(ctx, resp.GetRevision(), confirmWithin)
	resp.ConfirmedReplicas, resp.PendingReplicas, resp.LostReplicas = int32(confirmed), int32(pending), int32(lost)
	return resp, nil
}
