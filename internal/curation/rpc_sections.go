package curation

import (
	"context"

	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/changes"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/masks"
	"github.com/aitheater/theater/internal/resource"
)

// CreateSection implements pb.CurationServiceServer.
func (s *Service) CreateSection(ctx context.Context, req *pb.CreateSectionRequest) (*pb.Section, error) {
	name, err := resource.NewName(sectionPrefix, "section_id", req.GetSectionId(), "section.name", req.GetSection().GetName())
	if err != nil {
		return nil, err
	}
	sec := &pb.Section{}
	proto.Merge(sec, req.GetSection())
	masks.ClearOutput(sec)
	sec.Name, sec.Etag = name, ""
	if err := s.fitSection(ctx, "section", sec); err != nil {
		return nil, err
	}
	out, _, err := changes.Write(ctx, s.Log, call(ctx, "CreateSection", req), func(w *changes.Writer) (*pb.Section, error) {
		_, ours := builtin(s.BuiltinSections, name)
		taken, err := load(w, name, &pb.Section{})
		if err != nil {
			return nil, err
		}
		if taken || ours {
			return nil, fault.New(fault.AlreadyExists, pb.ErrorReason_ALREADY_EXISTS, "%s exists", name)
		}
		return s.putSection(w, nil, proto.CloneOf(sec))
	})
	return out, err
}

// fitSection refuses a section that breaks a rule or goes beyond the caller's markets.
func (s *Service) fitSection(ctx context.Context, path string, sec *pb.Section) error {
	broken, err := s.checkSection(path, sec, s.Shelf.Current())
	if err != nil {
		return err
	}
	if err := broken.Err(); err != nil {
		return err
	}
	return mayTouch(auth.CallerFrom(ctx), sec)
}

func (s *Service) putSection(w *changes.Writer, old, sec *pb.Section) (*pb.Section, error) {
	var before versioned
	if old != nil {
		before = old
	}
	put, err := stamp(w, before, sec, "")
	if err != nil {
		return nil, err
	}
	if put == nil {
		sec = old
	} else {
		w.Put(*put)
	}
	return withProblems(sec, s.Shelf.Current(), w.Now), nil
}

// GetSection implements pb.CurationServiceServer.
func (s *Service) GetSection(_ context.Context, req *pb.GetSectionRequest) (*pb.Section, error) {
	if err := resource.CheckName("name", sectionPrefix, req.GetName()); err != nil {
		return nil, err
	}
	snap := s.Shelf.Current()
	sec := snap.Section(req.GetName())
	if sec == nil {
		var ok bool
		if sec, ok = builtin(s.BuiltinSections, req.GetName()); !ok {
			return nil, fault.Missing(req.GetName())
		}
	}
	return withProblems(sec, snap, s.Clock.Now()), nil
}

// ListSections implements pb.CurationServiceServer.
func (s *Service) ListSections(_ context.Context, req *pb.ListSectionsRequest) (*pb.ListSectionsResponse, error) {
	snap := s.Shelf.Current()
	all := withBuiltins(snap.Sections(), s.BuiltinSections)
	page, next, _, err := resource.Page(s.Keys, serviceName+"ListSections", req, all, (*pb.Section).GetName)
	if err != nil {
		return nil, err
	}
	out := &pb.ListSectionsResponse{NextPageToken: next}
	for _, sec := range page {
		out.Sections = append(out.Sections, withProblems(sec, snap, s.Clock.Now()))
	}
	return out, nil
}

// UpdateSection implements pb.CurationServiceServer. A built-in section is replaced by a stored one.
func (s *Service) UpdateSection(ctx context.Context, req *pb.UpdateSectionRequest) (*pb.Section, error) {
	name, etag := req.GetSection().GetName(), req.GetSection().GetEtag()
	if err := resource.CheckName("section.name", sectionPrefix, name); err != nil {
		return nil, err
	}
	mask, err := masks.Parse("update_mask", req.GetUpdateMask(), &pb.Section{})
	if err != nil {
		return nil, err
	}
	if err := required("section.etag", etag); err != nil {
		return nil, err
	}
	out, _, err := changes.Write(ctx, s.Log, call(ctx, "UpdateSection", req), func(w *changes.Writer) (*pb.Section, error) {
		old, err := s.loadSection(w, name)
		if err != nil {
			return nil, err
		}
		if err := mayTouch(auth.CallerFrom(ctx), old); err != nil {
			return nil, err
		}
		if err := resource.CheckEtag(name, etag, old.GetEtag()); err != nil {
			return nil, err
		}
		sec, sent := proto.CloneOf(old), proto.CloneOf(req.GetSection())
		masks.ClearOutput(sent)
		mask.Apply(sec, sent)
		if err := s.fitSection(ctx, "section", sec); err != nil {
			return nil, err
		}
		return s.putSection(w, old, sec)
	})
	return out, s.lostUpdate(ctx, err, name, etag, func() versioned { return &pb.Section{} })
}

// required refuses an update without the etag that says what it builds on.
func required(path, etag string) error {
	if etag == "" {
		return fault.Invalid(path, "is required: send the etag of the version your change builds on")
	}
	return nil
}

// loadSection reads a section as of a write, the built-in one where none is stored.
func (s *Service) loadSection(w *changes.Writer, name string) (*pb.Section, error) {
	sec, ok, err := current(w, name, &pb.Section{}, s.BuiltinSections)
	if err != nil || !ok {
		return nil, orMissing(err, name)
	}
	return sec, nil
}

// DeleteSection implements pb.CurationServiceServer.
func (s *Service) DeleteSection(ctx context.Context, req *pb.DeleteSectionRequest) (*pb.DeleteSectionResponse, error) {
	if err := resource.CheckName("name", sectionPrefix, req.GetName()); err != nil {
		return nil, err
	}
	out, _, err := changes.Write(ctx, s.Log, call(ctx, "DeleteSection", req), func(w *changes.Writer) (*pb.DeleteSectionResponse, error) {
		put, err := s.deletion(ctx, w, req.GetName(), req.GetEtag())
		if err != nil {
			return nil, err
		}
		w.Put(*put)
		return &pb.DeleteSectionResponse{Revision: w.Revision}, nil
	})
	return out, s.lostUpdate(ctx, err, req.GetName(), req.GetEtag(), func() versioned { return &pb.Section{} })
}

// deletion is the change that deletes a stored section.
func (s *Service) deletion(ctx context.Context, w *changes.Writer, name, etag string) (*changes.Change, error) {
	old := &pb.Section{}
	ok, err := load(w, name, old)
	if err != nil {
		return nil, err
	}
	if !ok {
		if _, ours := builtin(s.BuiltinSections, name); ours {
			return nil, fault.New(fault.FailedPrecondition, pb.ErrorReason_WRONG_STATE, "%s is built in; take it out of the layouts instead", name)
		}
		return nil, fault.Missing(name)
	}
	if err := mayTouch(auth.CallerFrom(ctx), old); err != nil {
		return nil, err
	}
	if err := resource.CheckEtag(name, etag, old.GetEtag()); err != nil {
		return nil, err
	}
	return &changes.Change{Name: name}, nil
}

// GetLayout implements pb.CurationServiceServer.
func (s *Service) GetLayout(_ context.Context, req *pb.GetLayoutRequest) (*pb.Layout, error) {
	if err := resource.CheckName("name", layoutPrefix, req.GetName()); err != nil {
		return nil, err
	}
	if l := s.Shelf.Current().Layout(req.GetName()); l != nil {
		return l, nil
	}
	if l, ok := builtin(s.BuiltinLayouts, req.GetName()); ok {
		return l, nil
	}
	return nil, fault.Missing(req.GetName())
}

// ListLayouts implements pb.CurationServiceServer.
func (s *Service) ListLayouts(_ context.Context, req *pb.ListLayoutsRequest) (*pb.ListLayoutsResponse, error) {
	all := withBuiltins(s.Shelf.Current().Layouts(), s.BuiltinLayouts)
	page, next, _, err := resource.Page(s.Keys, serviceName+"ListLayouts", req, all, (*pb.Layout).GetName)
	return &pb.ListLayoutsResponse{Layouts: page, NextPageToken: next}, err
}

// UpdateLayout implements pb.CurationServiceServer.
func (s *Service) UpdateLayout(ctx context.Context, req *pb.UpdateLayoutRequest) (*pb.Layout, error) {
	name, etag := req.GetLayout().GetName(), req.GetLayout().GetEtag()
	if err := resource.CheckName("layout.name", layoutPrefix, name); err != nil {
		return nil, err
	}
	if len(auth.CallerFrom(ctx).Markets) > 0 {
		return nil, denied(name, "a layout is for every market")
	}
	mask, err := masks.Parse("update_mask", req.GetUpdateMask(), &pb.Layout{})
	if err != nil {
		return nil, err
	}
	out, _, err := changes.Write(ctx, s.Log, call(ctx, "UpdateLayout", req), func(w *changes.Writer) (*pb.Layout, error) {
		old, exists, err := current(w, name, &pb.Layout{}, s.BuiltinLayouts)
		if err != nil {
			return nil, err
		}
		if exists {
			if err := required("layout.etag", etag); err != nil {
				return nil, err
			}
		}
		if err := resource.CheckEtag(name, etag, old.GetEtag()); err != nil {
			return nil, err
		}
		l, sent := proto.CloneOf(old), proto.CloneOf(req.GetLayout())
		masks.ClearOutput(sent)
		mask.Apply(l, sent)
		l.Name = name
		broken, err := checkLayout("layout", l, func(section string) bool { return s.knows(s.Shelf.Current(), section) })
		if err != nil {
			return nil, err
		}
		if err := broken.Err(); err != nil {
			return nil, err
		}
		put, err := stamp(w, old, l, "")
		if err != nil || put == nil {
			return old, err
		}
		w.Put(*put)
		return l, nil
	})
	return out, s.lostUpdate(ctx, err, name, etag, func() versioned { return &pb.Layout{} })
}
