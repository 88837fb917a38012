package catalog

import (
	"context"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/changes"
	"github.com/aitheater/theater/internal/masks"
	"github.com/aitheater/theater/internal/resource"
)

var everything = &fieldmaskpb.FieldMask{Paths: []string{"*"}}

// Restore makes the editable fields of an earlier body of a film or genre the current ones,
// under today's rules and as far as the caller of ctx may change it, inside another room's
// write; etag is checked when set. State, uid, times, take-downs and counts of a film stay as
// they are, and a deleted film is refused. The change is for the caller to Put; nil when
// nothing differs.
func (s *Service) Restore(ctx context.Context, w *changes.Writer, name string, body []byte, etag string) (*changes.Change, error) {
	by := auth.CallerFrom(ctx)
	if strings.HasPrefix(name, genrePrefix) {
		if err := by.Everywhere(); err != nil {
			return nil, err
		}
		return restoreGenre(w, name, body, etag)
	}
	old, err := loadFilm(w, name)
	if err != nil {
		return nil, err
	}
	if err := resource.CheckEtag(name, etag, old.GetEtag()); err != nil {
		return nil, err
	}
	earlier, f := &pb.Film{}, proto.CloneOf(old)
	if err := proto.Unmarshal(body, earlier); err != nil {
		return nil, err
	}
	mask, err := masks.Parse("", everything, f)
	if err != nil {
		return nil, err
	}
	e := edit{path: "film", change: replaceFields(earlier, mask)}
	if err := e.change(f, w.Now); err != nil {
		return nil, err
	}
	if err := permit(by, old, f); err != nil {
		return nil, err
	}
	if err := e.check(w, old, f); err != nil {
		return nil, err
	}
	return seal(w, old, f, "")
}

func restoreGenre(w *changes.Writer, name string, body []byte, etag string) (*changes.Change, error) {
	earlier := &pb.Genre{}
	if err := proto.Unmarshal(body, earlier); err != nil {
		return nil, err
	}
	earlier.Name, earlier.Etag = name, etag
	_, put, err := editGenre(w, earlier, everything)
	return put, err
}

// replaceFields is the change that takes the fields a mask names from another film.
func replaceFields(from *pb.Film, mask *masks.Mask) transition {
	return func(f *pb.Film, _ time.Time) error {
		if f.GetDeleteTime() != nil {
			return wrongState(f, "editing", "films that are not deleted")
		}
		sent := proto.CloneOf(from)
		masks.ClearOutput(sent)
		mask.Apply(f, sent)
		return nil
	}
}
