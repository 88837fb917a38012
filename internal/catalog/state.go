package catalog

import (
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/changes"
	"github.com/aitheater/theater/internal/fault"
)

// ChangeState is a film's state change inside another room's write, for releases: between
// DRAFT, IN_REVIEW and PUBLISHED in any direction, and from PUBLISHED to TAKEN_DOWN. It never
// brings back a film that is taken down or deleted. The change is for the caller to Put; nil
// when the film is in that state already. Errors are faults: FILM_NOT_FOUND, WRONG_STATE,
// NOT_PUBLISHABLE with a violation per unmet rule.
func (s *Service) ChangeState(w *changes.Writer, name string, state pb.Film_State, note string) (*changes.Change, error) {
	old, err := loadFilm(w, name)
	if err != nil {
		return nil, err
	}
	if old.GetState() == state && old.GetDeleteTime() == nil {
		return nil, nil
	}
	change, err := toState(state, note)
	if err != nil {
		return nil, err
	}
	f := proto.CloneOf(old)
	if err := change.change(f, w.Now); err != nil {
		return nil, err
	}
	if err := change.check(w, old, f); err != nil {
		return nil, err
	}
	return seal(w, old, f, note)
}

func toState(state pb.Film_State, note string) (edit, error) {
	const verb = "this change of state"
	switch state {
	case pb.Film_DRAFT, pb.Film_IN_REVIEW:
		return edit{withdrawal: true, change: move(verb, state, pb.Film_DRAFT, pb.Film_IN_REVIEW, pb.Film_PUBLISHED)}, nil
	case pb.Film_PUBLISHED:
		return edit{change: move(verb, state, pb.Film_DRAFT, pb.Film_IN_REVIEW)}, nil
	case pb.Film_TAKEN_DOWN:
		return edit{withdrawal: true, change: func(f *pb.Film, _ time.Time) error { return takeDown(f, note, nil) }}, nil
	default:
		return edit{}, fault.Invalid("state", "must be DRAFT, IN_REVIEW, PUBLISHED or TAKEN_DOWN")
	}
}

// CheckState says what stands in the way of ChangeState for a film as this replica shows it,
// by the rules as of a time; nil when nothing does. The film is not changed.
func (s *Service) CheckState(film *pb.Film, state pb.Film_State, at time.Time) []fault.Violation {
	if film.GetState() == state && film.GetDeleteTime() == nil {
		return nil
	}
	change, err := toState(state, "")
	if err == nil {
		err = change.change(proto.CloneOf(film), at)
	}
	if err != nil {
		return []fault.Violation{{Rule: "film-state", Subject: film.GetName(), Description: fault.As(err).Message}}
	}
	if state != pb.Film_PUBLISHED {
		return nil
	}
	now, children := s.shelf.Current(), false
	for _, slug := range film.GetGenres() {
		children = children || now.Genre(genrePrefix+slug).GetChildren()
	}
	return unpublishable(film, children, at)
}
