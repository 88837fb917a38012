package curation

import (
	"context"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/changes"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/masks"
	"github.com/aitheater/theater/internal/resource"
)

// keepChanges clears what a client may not set, in the release and in what it changes.
func keepChanges(r *pb.Release) {
	masks.ClearOutput(r)
	r.Etag = ""
}

func blankRelease() versioned { return &pb.Release{} }

// CreateRelease implements pb.CurationServiceServer.
func (s *Service) CreateRelease(ctx context.Context, req *pb.CreateReleaseRequest) (*pb.Release, error) {
	name, err := resource.NewName(releasePrefix, "release_id", req.GetReleaseId(), "release.name", req.GetRelease().GetName())
	if err != nil {
		return nil, err
	}
	fresh := newRelease(name, req.GetRelease())
	if err := s.fitRelease(ctx, fresh); err != nil {
		return nil, err
	}
	out, _, err := changes.Write(ctx, s.Log, call(ctx, "CreateRelease", req), func(w *changes.Writer) (*pb.Release, error) {
		taken, err := load(w, name, &pb.Release{})
		if err != nil {
			return nil, err
		}
		if taken {
			return nil, fault.New(fault.AlreadyExists, pb.ErrorReason_ALREADY_EXISTS, "%s exists", name)
		}
		r := proto.CloneOf(fresh)
		r.Problems = s.problems(r, s.Shelf.Current(), w.Now)
		return r, put(w, nil, r, "")
	})
	return out, err
}

// fitRelease refuses a release that breaks a field rule or goes beyond the caller's markets.
func (s *Service) fitRelease(ctx context.Context, r *pb.Release) error {
	snap, caller := s.Shelf.Current(), auth.CallerFrom(ctx)
	broken, err := s.checkRelease("release", r, snap)
	if err != nil {
		return err
	}
	if err := broken.Err(); err != nil {
		return err
	}
	if len(caller.Markets) == 0 {
		return nil
	}
	for _, c := range r.GetChanges() {
		switch change := c.GetChange().(type) {
		case *pb.ReleaseChange_Section:
			err = mayTouch(caller, change.Section, snap.Section(change.Section.GetName()))
		case *pb.ReleaseChange_Delete:
			err = mayTouch(caller, snap.Section(change.Delete.GetName()))
		default:
			err = denied(subject(c), "it is for every market")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// put stamps and stores a release.
func put(w *changes.Writer, old, r *pb.Release, note string) error {
	var before versioned
	if old != nil {
		before = old
	}
	c, err := stamp(w, before, r, note)
	if err != nil || c == nil {
		return err
	}
	w.Put(*c)
	return nil
}

// GetRelease implements pb.CurationServiceServer.
func (s *Service) GetRelease(_ context.Context, req *pb.GetReleaseRequest) (*pb.Release, error) {
	return s.release(req.GetName())
}

func (s *Service) release(name string) (*pb.Release, error) {
	if err := resource.CheckName("name", releasePrefix, name); err != nil {
		return nil, err
	}
	if r := s.Shelf.Current().Release(name); r != nil {
		return r, nil
	}
	return nil, fault.Missing(name)
}

// ListReleases implements pb.CurationServiceServer.
func (s *Service) ListReleases(_ context.Context, req *pb.ListReleasesRequest) (*pb.ListReleasesResponse, error) {
	all := slices.Clone(s.Shelf.Current().Releases())
	slices.SortStableFunc(all, func(a, b *pb.Release) int {
		return b.GetCreateTime().AsTime().Compare(a.GetCreateTime().AsTime())
	})
	page, next, _, err := resource.Page(s.Keys, serviceName+"ListReleases", req, all, (*pb.Release).GetName)
	return &pb.ListReleasesResponse{Releases: page, NextPageToken: next}, err
}

// changeRelease runs one change of one release as one write. etag is checked when set.
func (s *Service) changeRelease(ctx context.Context, c changes.Call, name, etag string, change func(w *changes.Writer, r *pb.Release) error) (*pb.Release, error) {
	if err := resource.CheckName("name", releasePrefix, name); err != nil {
		return nil, err
	}
	out, _, err := changes.Write(ctx, s.Log, c, func(w *changes.Writer) (*pb.Release, error) {
		old := &pb.Release{}
		if ok, err := load(w, name, old); err != nil || !ok {
			return nil, orMissing(err, name)
		}
		if err := resource.CheckEtag(name, etag, old.GetEtag()); err != nil {
			return nil, err
		}
		r := proto.CloneOf(old)
		if err := change(w, r); err != nil {
			return nil, err
		}
		if err := put(w, old, r, ""); err != nil {
			return nil, err
		}
		return r, nil
	})
	return out, s.lostUpdate(ctx, err, name, etag, blankRelease)
}

func orMissing(err error, name string) error {
	if err != nil {
		return err
	}
	return fault.Missing(name)
}

// UpdateRelease implements pb.CurationServiceServer. A FAILED release becomes OPEN again.
func (s *Service) UpdateRelease(ctx context.Context, req *pb.UpdateReleaseRequest) (*pb.Release, error) {
	name, etag := req.GetRelease().GetName(), req.GetRelease().GetEtag()
	if err := resource.CheckName("release.name", releasePrefix, name); err != nil {
		return nil, err
	}
	mask, err := masks.Parse("update_mask", req.GetUpdateMask(), &pb.Release{})
	if err != nil {
		return nil, err
	}
	if err := required("release.etag", etag); err != nil {
		return nil, err
	}
	return s.changeRelease(ctx, call(ctx, "UpdateRelease", req), name, etag, func(w *changes.Writer, r *pb.Release) error {
		if err := in(r, "UpdateRelease", pb.Release_OPEN, pb.Release_FAILED); err != nil {
			return err
		}
		sent := proto.CloneOf(req.GetRelease())
		keepChanges(sent)
		mask.Apply(r, sent)
		if err := s.fitRelease(ctx, r); err != nil {
			return err
		}
		r.State, r.Problems = pb.Release_OPEN, s.problems(r, s.Shelf.Current(), w.Now)
		return nil
	})
}

// ValidateRelease implements pb.CurationServiceServer.
func (s *Service) ValidateRelease(_ context.Context, req *pb.ValidateReleaseRequest) (*pb.ValidateReleaseResponse, error) {
	r, err := s.release(req.GetName())
	if err != nil {
		return nil, err
	}
	at := s.Clock.Now()
	switch {
	case req.GetTime() != nil && req.GetTime().CheckValid() != nil:
		return nil, fault.Invalid("time", "must be a time between the years 1 and 9999")
	case req.GetTime() != nil:
		at = req.GetTime().AsTime()
	case r.GetState() == pb.Release_SCHEDULED:
		at = r.GetPublishTime().AsTime()
	}
	return &pb.ValidateReleaseResponse{Problems: s.problems(r, s.Shelf.Current(), at)}, nil
}

// ScheduleRelease implements pb.CurationServiceServer.
func (s *Service) ScheduleRelease(ctx context.Context, req *pb.ScheduleReleaseRequest) (*pb.Release, error) {
	if req.GetPublishTime().CheckValid() != nil {
		return nil, fault.Invalid("publish_time", "must be a time between the years 1 and 9999")
	}
	at := req.GetPublishTime().AsTime()
	return s.changeRelease(ctx, call(ctx, "ScheduleRelease", req), req.GetName(), req.GetEtag(), func(w *changes.Writer, r *pb.Release) error {
		if err := in(r, "ScheduleRelease", pb.Release_OPEN, pb.Release_SCHEDULED, pb.Release_FAILED); err != nil {
			return err
		}
		if !at.After(w.Now) {
			return fault.Invalid("publish_time", "must be in the future; it is %s by the database's clock (PublishRelease applies a release now)", w.Now.Format(time.RFC3339))
		}
		r.Problems = s.problems(r, s.Shelf.Current(), at)
		if stops(r.GetProblems()) {
			return invalid(r.GetName(), r.GetProblems())
		}
		r.State, r.PublishTime = pb.Release_SCHEDULED, timestamppb.New(at.Truncate(time.Microsecond))
		return nil
	})
}

// CancelRelease implements pb.CurationServiceServer.
func (s *Service) CancelRelease(ctx context.Context, req *pb.CancelReleaseRequest) (*pb.Release, error) {
	return s.changeRelease(ctx, call(ctx, "CancelRelease", req), req.GetName(), req.GetEtag(), func(_ *changes.Writer, r *pb.Release) error {
		if r.GetState() == pb.Release_CANCELLED {
			return nil
		}
		if err := in(r, "CancelRelease", pb.Release_OPEN, pb.Release_SCHEDULED, pb.Release_FAILED); err != nil {
			return err
		}
		r.State, r.PublishTime = pb.Release_CANCELLED, nil
		return nil
	})
}

// PublishRelease implements pb.CurationServiceServer.
func (s *Service) PublishRelease(ctx context.Context, req *pb.PublishReleaseRequest) (*pb.Release, error) {
	return s.changeRelease(ctx, call(ctx, "PublishRelease", req), req.GetName(), req.GetEtag(), func(w *changes.Writer, r *pb.Release) error {
		if err := in(r, "PublishRelease", pb.Release_OPEN, pb.Release_SCHEDULED, pb.Release_FAILED); err != nil {
			return err
		}
		return s.apply(ctx, w, r)
	})
}
