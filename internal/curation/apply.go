package curation

import (
	"context"
	"log/slog"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/changes"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/resource"
	"github.com/aitheater/theater/internal/telemetry"
)

// apply puts all changes of a release into a write and marks the release PUBLISHED; or it
// gives the fault that stops it, and the write comes to nothing.
func (s *Service) apply(ctx context.Context, w *changes.Writer, r *pb.Release) error {
	r.Problems = s.problems(r, s.Shelf.Current(), w.Now)
	if stops(r.GetProblems()) {
		return invalid(r.GetName(), r.GetProblems())
	}
	for _, c := range r.GetChanges() {
		put, err := s.change(ctx, w, c, r.GetName())
		if err != nil {
			return err
		}
		if put != nil {
			w.Put(*put)
		}
	}
	r.State, r.AppliedTime, r.AppliedRevision = pb.Release_PUBLISHED, timestamppb.New(w.Now), w.Revision
	return nil
}

// change is one change of a release as of this write.
func (s *Service) change(ctx context.Context, w *changes.Writer, c *pb.ReleaseChange, note string) (*changes.Change, error) {
	switch c := c.GetChange().(type) {
	case *pb.ReleaseChange_Section:
		old, _, err := current(w, c.Section.GetName(), &pb.Section{}, s.BuiltinSections)
		if err != nil {
			return nil, err
		}
		sec := proto.CloneOf(c.Section)
		sec.CreateTime = old.GetCreateTime()
		if err := resource.CheckEtag(sec.GetName(), sec.GetEtag(), old.GetEtag()); err != nil {
			return nil, err
		}
		return stamp(w, old, sec, note)
	case *pb.ReleaseChange_Layout:
		old, _, err := current(w, c.Layout.GetName(), &pb.Layout{}, s.BuiltinLayouts)
		if err != nil {
			return nil, err
		}
		l := proto.CloneOf(c.Layout)
		l.CreateTime = old.GetCreateTime()
		if err := resource.CheckEtag(l.GetName(), l.GetEtag(), old.GetEtag()); err != nil {
			return nil, err
		}
		return stamp(w, old, l, note)
	case *pb.ReleaseChange_FilmState:
		return s.Films.ChangeState(w, c.FilmState.GetFilm(), c.FilmState.GetState(), note)
	case *pb.ReleaseChange_Delete:
		put, err := s.deletion(ctx, w, c.Delete.GetName(), "")
		if put != nil {
			put.Note = note
		}
		return put, err
	}
	return nil, fault.Invalid("changes", "a change must say what it changes")
}

// lookEvery is how often Run looks for releases that are due; a look costs no SQL.
const lookEvery = 200 * time.Millisecond

// Run applies scheduled releases as they fall due, until ctx ends. Every replica runs it.
func (s *Service) Run(ctx context.Context) error {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		for _, name := range s.due() {
			s.applyDue(ctx, name)
		}
	}
}

// due names the releases this replica believes to be due, earliest first.
func (s *Service) due() []string {
	now := s.Clock.Now()
	var names []string
	var times []time.Time
	for _, r := range s.Shelf.Current().Releases() {
		at := r.GetPublishTime().AsTime()
		if r.GetState() != pb.Release_SCHEDULED || at.After(now) {
			continue
		}
		i := len(times)
		for i > 0 && at.Before(times[i-1]) {
			i--
		}
		names = append(names[:i], append([]string{r.GetName()}, names[i:]...)...)
		times = append(times[:i], append([]time.Time{at}, times[i:]...)...)
	}
	return names
}

// scheduler is the actor of releases applied by time.
const scheduler = "scheduler"

// applyDue applies one release if it is still SCHEDULED and due by the database's clock. A
// release that cannot be applied is marked FAILED with the reasons, and nothing else changes.
func (s *Service) applyDue(ctx context.Context, name string) {
	ctx, span := telemetry.Start(ctx, "curation.apply_due")
	defer span.End()
	c := changes.Call{Actor: scheduler, Method: serviceName + "PublishRelease"}
	_, revision, err := changes.Write(ctx, s.Log, c, s.whenDue(name, func(w *changes.Writer, r *pb.Release) error {
		return s.apply(ctx, w, r)
	}))
	if why := fault.As(err); why != nil && why.Kind != fault.Unavailable {
		slog.ErrorContext(ctx, "a scheduled release cannot be applied", "release", name, "why", why.Message)
		_, revision, err = changes.Write(ctx, s.Log, c, s.whenDue(name, func(w *changes.Writer, r *pb.Release) error {
			r.State = pb.Release_FAILED
			r.Problems = s.problems(r, s.Shelf.Current(), w.Now)
			if !stops(r.GetProblems()) {
				r.Problems = append(r.Problems, &pb.ReleaseProblem{Resource: name, Rule: why.Reason.String(), Description: why.Message})
			}
			return nil
		}))
	}
	switch {
	case err != nil:
		span.RecordError(err)
		slog.WarnContext(ctx, "a due release waits", "release", name, "error", err)
	case revision > 0:
		slog.InfoContext(ctx, "scheduled release done", "release", name, "revision", revision)
	}
}

// whenDue runs change on a release that is SCHEDULED and due as of the write; otherwise the
// write comes to nothing.
func (s *Service) whenDue(name string, change func(w *changes.Writer, r *pb.Release) error) func(w *changes.Writer) (*pb.Release, error) {
	return func(w *changes.Writer) (*pb.Release, error) {
		old := &pb.Release{}
		ok, err := load(w, name, old)
		if err != nil || !ok || old.GetState() != pb.Release_SCHEDULED || old.GetPublishTime().AsTime().After(w.Now) {
			return old, err
		}
		r := proto.CloneOf(old)
		if err := change(w, r); err != nil {
			return nil, err
		}
		return r, put(w, old, r, "")
	}
}
