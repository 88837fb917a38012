package curation

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/changes"
	"github.com/aitheater/theater/internal/fault"
)

// RevertRelease implements pb.CurationServiceServer.
func (s *Service) RevertRelease(ctx context.Context, req *pb.RevertReleaseRequest) (*pb.Release, error) {
	r, err := s.release(req.GetName())
	if err != nil {
		return nil, err
	}
	if r.GetState() == pb.Release_PUBLISHED && s.Log.Applied() < r.GetAppliedRevision() {
		return nil, fault.New(fault.Unavailable, pb.ErrorReason_REVISION_NOT_APPLIED, "this replica has not seen the release applied yet")
	}
	// History does not change: what was before the release can be read ahead of the write.
	before := map[string]changes.HistoryRow{}
	for _, name := range subjects(r) {
		row, ok, err := s.Log.At(ctx, name, r.GetAppliedRevision()-1)
		if err != nil {
			return nil, err
		}
		if ok {
			before[name] = row
		}
	}
	applied := r.GetAppliedRevision()
	return s.changeRelease(ctx, call(ctx, "RevertRelease", req), req.GetName(), req.GetEtag(), func(w *changes.Writer, r *pb.Release) error {
		if err := in(r, "RevertRelease", pb.Release_PUBLISHED); err != nil {
			return err
		}
		if r.GetAppliedRevision() != applied {
			return fault.New(fault.Unavailable, pb.ErrorReason_REVISION_NOT_APPLIED, "the release was applied again meanwhile; try again")
		}
		return s.revert(w, r, before, req.GetOverwriteLaterChanges())
	})
}

// revert puts the inverse of a release into a write.
func (s *Service) revert(w *changes.Writer, r *pb.Release, before map[string]changes.HistoryRow, overwrite bool) error {
	r.Problems = nil
	var later []fault.Violation
	for i := len(r.GetChanges()) - 1; i >= 0; i-- {
		c, name := r.GetChanges()[i], subject(r.GetChanges()[i])
		var put *changes.Change
		var edited string
		var err error
		if f := c.GetFilmState(); f != nil {
			put, edited, err = s.revertFilm(w, r, int32(i), before[name].Body)
		} else {
			put, edited, err = s.revertResource(w, r, name, before[name].Body)
		}
		if err != nil {
			return err
		}
		if edited != "" {
			later = append(later, fault.Violation{Rule: "later-change", Subject: name, Description: edited})
		}
		if put != nil {
			w.Put(*put)
		}
	}
	if len(later) > 0 && !overwrite {
		e := fault.New(fault.FailedPrecondition, pb.ErrorReason_LATER_CHANGES, "%s: %s; set overwrite_later_changes to undo that too", later[0].Subject, later[0].Description)
		e.Violations = later
		return e
	}
	r.State, r.RevertedRevision = pb.Release_REVERTED, w.Revision
	return nil
}

// revertResource brings a section or layout back to what it was; edited says what was done to
// it since.
func (s *Service) revertResource(w *changes.Writer, r *pb.Release, name string, before []byte) (*changes.Change, string, error) {
	found, err := w.Get(name)
	if err != nil {
		return nil, "", err
	}
	now, exists := found[name]
	edited := ""
	if exists && now.Revision > r.GetAppliedRevision() {
		edited = fmt.Sprintf("edited in revision %d", now.Revision)
	}
	if before == nil {
		if !exists {
			return nil, edited, nil
		}
		return &changes.Change{Name: name, Note: "reverts " + r.GetName()}, edited, nil
	}
	put, err := s.restore(w, name, before, "reverts "+r.GetName())
	return put, edited, err
}

// restore makes an earlier body of a section or layout the current one; nil when it is.
func (s *Service) restore(w *changes.Writer, name string, body []byte, note string) (*changes.Change, error) {
	var old, m versioned = &pb.Section{}, &pb.Section{}
	if name[:len(layoutPrefix)] == layoutPrefix {
		old, m = &pb.Layout{}, &pb.Layout{}
	}
	if _, err := load(w, name, old); err != nil {
		return nil, err
	}
	if err := proto.Unmarshal(body, m); err != nil {
		return nil, err
	}
	return stamp(w, old, m, note)
}

// revertFilm moves a film back to the state it was in. A film that is taken down stays so.
func (s *Service) revertFilm(w *changes.Writer, r *pb.Release, index int32, before []byte) (put *changes.Change, edited string, err error) {
	c := r.GetChanges()[index].GetFilmState()
	now, was := &pb.Film{}, &pb.Film{}
	if ok, err := load(w, c.GetFilm(), now); err != nil || !ok || before == nil {
		return nil, "", err
	}
	if err := proto.Unmarshal(before, was); err != nil {
		return nil, "", err
	}
	if now.GetState() != c.GetState() || now.GetDeleteTime() != nil {
		edited = "its state is " + now.GetState().String()
		if now.GetDeleteTime() != nil {
			edited = "it was deleted"
		}
	}
	switch {
	case now.GetState() == pb.Film_TAKEN_DOWN || now.GetDeleteTime() != nil:
		why := "it is taken down; ReinstateFilm is the only way back"
		if now.GetDeleteTime() != nil {
			why = "it is deleted"
		}
		r.Problems = append(r.Problems, &pb.ReleaseProblem{Change: index, Resource: c.GetFilm(), Rule: "not-reinstated", Description: why, Warning: true})
		return nil, edited, nil
	case was.GetState() == now.GetState() || was.GetState() == pb.Film_TAKEN_DOWN:
		return nil, edited, nil
	}
	put, err = s.Films.ChangeState(w, c.GetFilm(), was.GetState(), "reverts "+r.GetName())
	return put, edited, err
}
