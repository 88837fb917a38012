package catalog

import (
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/changes"
	"github.com/aitheater/theater/internal/disclosure"
	"github.com/aitheater/theater/internal/resource"
)

// seal finishes a changed film: derives what follows, stamps it, and gives the change to
// store; nil when nothing changed. old is nil for a new film. The caller has checked the
// fields, and the publish rules where they apply.
func seal(w *changes.Writer, old, f *pb.Film, note string) (*changes.Change, error) {
	derive(f)
	tag, err := etag(f)
	if err != nil {
		return nil, err
	}
	if old != nil && tag == old.GetEtag() {
		return nil, nil
	}
	f.Etag, f.Revision, f.UpdateTime = tag, w.Revision, timestamppb.New(w.Now)
	if old == nil {
		f.CreateTime = f.UpdateTime
	}
	stored := f.Stats
	f.Stats = nil
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(f)
	f.Stats = stored
	if err != nil {
		return nil, err
	}
	c := &changes.Change{Name: f.GetName(), Body: body, Withdraw: old != nil && hides(old, f), Note: note}
	if deleted := f.GetDeleteTime(); deleted != nil {
		c.Expire = deleted.AsTime().Add(keepDeleted)
	}
	return c, nil
}

// keepDeleted is how long a deleted film can be undeleted.
const keepDeleted = 30 * 24 * time.Hour

// shown reports whether the film may be seen by someone, as far as its state goes.
func shown(f *pb.Film) bool { return f.GetState() == pb.Film_PUBLISHED && f.GetDeleteTime() == nil }

// edit is one change of one film.
type edit struct {
	// path is where the film stands in the request, for errors; empty = the change touches no
	// field a client sets, so that there is nothing to check.
	path string
	// withdrawal marks a change that only ever hides. It needs no publish rules: a film that a
	// new rule has overtaken must still be possible to take down.
	withdrawal bool
	// note goes into the audit.
	note string
	// by is who edits; nil = another room, which has asked already.
	by     *auth.Caller
	change transition
}

// apply runs the edit inside a write: load, compare etags, change, check, store.
func (e edit) apply(w *changes.Writer, name, sentEtag string) (*pb.Film, error) {
	old, err := loadFilm(w, name)
	if err != nil {
		return nil, err
	}
	if err := resource.CheckEtag(name, sentEtag, old.GetEtag()); err != nil {
		return nil, err
	}
	f := proto.CloneOf(old)
	if err := e.change(f, w.Now); err != nil {
		return nil, err
	}
	if e.by != nil {
		if err := permit(e.by, old, f); err != nil {
			return nil, err
		}
	}
	if err := e.check(w, old, f); err != nil {
		return nil, err
	}
	put, err := seal(w, old, f, e.note)
	if err != nil {
		return nil, err
	}
	if put == nil {
		return old, nil
	}
	w.Put(*put)
	return f, nil
}

// check holds a changed film against the rules of fields and of publishing.
func (e edit) check(w *changes.Writer, old, f *pb.Film) error {
	if e.withdrawal {
		return nil
	}
	genres := vocabulary{}
	if err := genres.learn(w, f); err != nil {
		return err
	}
	if e.path != "" {
		if err := checkFilm(e.path, f, genres.knows); err != nil {
			return err
		}
	}
	derive(f)
	if err := disclosure.Strengthens(old, f); err != nil {
		return err
	}
	if shown(f) {
		if unmet := unpublishable(f, genres.children(f), w.Now); len(unmet) > 0 {
			return notPublishable(f, unmet)
		}
	}
	return nil
}
