package catalog

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/disclosure"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/resource"
	"github.com/aitheater/theater/internal/shelf"
	"github.com/aitheater/theater/internal/texts"
)

// CheckLabel implements pb.CatalogServiceServer.
func (s *Service) CheckLabel(_ context.Context, req *pb.CheckLabelRequest) (*pb.CheckLabelResponse, error) {
	if err := resource.CheckName("name", filmPrefix, req.GetName()); err != nil {
		return nil, err
	}
	if req.GetFound() == nil {
		return nil, fault.Invalid("found", "must hold a label or a manifest hash")
	}
	e := s.shelf.Current().Film(req.GetName())
	if e == nil {
		return nil, fault.FilmNotFound()
	}
	return disclosure.CheckLabel(e.Film(), req), nil
}

// revisionsAtOnce is how many revisions of a film are looked through at a time.
const revisionsAtOnce = 50

// ResolveDisclosure implements pb.CatalogServiceServer. For a time in the past it answers by
// the rules and the film of then.
func (s *Service) ResolveDisclosure(ctx context.Context, req *pb.ResolveDisclosureRequest) (*pb.ResolveDisclosureResponse, error) {
	if err := resource.CheckName("film", filmPrefix, req.GetFilm()); err != nil {
		return nil, err
	}
	if tag := req.GetLanguage(); tag != "" && !texts.WellFormed(tag) {
		return nil, fault.Invalid("language", "must be a well-formed BCP-47 language tag")
	}
	e := s.shelf.Current().Film(req.GetFilm())
	if e == nil {
		return nil, fault.FilmNotFound()
	}
	f, at := e.Film(), s.clock.Now()
	if t := req.GetTime(); t != nil {
		if t.CheckValid() != nil {
			return nil, fault.Invalid("time", "must be a time between the years 1 and 9999")
		}
		at = t.AsTime()
		then, err := s.filmAt(ctx, e, at)
		if err != nil {
			return nil, err
		}
		f = then
	}
	return disclosure.Resolve(f, req.GetMarket(), req.GetSurface(), req.GetLanguage(), at), nil
}

// filmAt is the film as it was at a time: as first known where it did not exist yet, so that
// what rules of the past would have asked can be seen of a new film too.
func (s *Service) filmAt(ctx context.Context, e *shelf.Entry, at time.Time) (*pb.Film, error) {
	f := e.Film()
	for before := e.Revision; at.Before(f.GetUpdateTime().AsTime()); {
		rows, err := s.log.Revisions(ctx, e.Name, before, revisionsAtOnce)
		if err != nil {
			return nil, err
		}
		if len(rows) == 0 {
			break
		}
		for _, row := range rows {
			before = row.Revision
			if row.Body == nil { // purged: what came before was another film
				return f, nil
			}
			f = &pb.Film{}
			if err := proto.Unmarshal(row.Body, f); err != nil {
				return nil, err
			}
			if !at.Before(row.Time) {
				return f, nil
			}
		}
	}
	return f, nil
}

// ListRules implements pb.CatalogServiceServer.
func (s *Service) ListRules(_ context.Context, req *pb.ListRulesRequest) (*pb.ListRulesResponse, error) {
	rules, next, _, err := resource.Page(s.keys, serviceName+"ListRules", req, disclosure.Rules(req.GetMarket()), ruleKey)
	return &pb.ListRulesResponse{Rules: rules, RulesVersion: disclosure.Version, NextPageToken: next}, err
}

// ruleKey tells rules apart: some apply to several markets under one id.
func ruleKey(r *pb.Rule) string { return r.GetMarket() + "/" + r.GetId() }
