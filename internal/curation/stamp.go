package curation

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/changes"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/resource"
)

func sortByName[M versioned](all []M) {
	slices.SortFunc(all, func(a, b M) int { return strings.Compare(a.GetName(), b.GetName()) })
}

// bookkeeping are the fields that an etag does not cover.
var bookkeeping = []protoreflect.Name{"etag", "revision", "create_time", "update_time", "problems"}

// fingerprint is the etag of a section, layout or release: over what editors edit and, for
// a release, where it stands.
func fingerprint(m proto.Message) (string, error) {
	return resource.Fingerprint(without(m, bookkeeping...))
}

func without(m proto.Message, names ...protoreflect.Name) proto.Message {
	out := proto.Clone(m)
	for _, name := range names {
		if f := out.ProtoReflect().Descriptor().Fields().ByName(name); f != nil {
			out.ProtoReflect().Clear(f)
		}
	}
	return out
}

// stamp gives m its etag, revision and times and makes the change that stores it; nil when
// nothing an editor edits differs from old, which is nil for a new resource.
func stamp(w *changes.Writer, old, m versioned, note string) (*changes.Change, error) {
	tag, err := fingerprint(m)
	if err != nil {
		return nil, err
	}
	if old != nil && old.GetEtag() == tag && old.GetRevision() > 0 {
		return nil, nil
	}
	now := timestamppb.New(w.Now)
	switch m := m.(type) {
	case *pb.Section:
		m.Etag, m.Revision, m.UpdateTime, m.Problems = tag, w.Revision, now, nil
		if m.CreateTime == nil {
			m.CreateTime = now
		}
	case *pb.Layout:
		m.Etag, m.Revision, m.UpdateTime = tag, w.Revision, now
		if m.CreateTime == nil {
			m.CreateTime = now
		}
	case *pb.Release:
		m.Etag, m.Revision, m.UpdateTime = tag, w.Revision, now
		if m.CreateTime == nil {
			m.CreateTime = now
		}
	}
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, err
	}
	return &changes.Change{Name: m.GetName(), Body: body, Note: note}, nil
}

// lostUpdate adds to an etag mismatch what was changed since the caller read the resource:
// the names of the fields, by whom and when.
func (s *Service) lostUpdate(ctx context.Context, err error, name, sent string, blank func() versioned) error {
	e := fault.As(err)
	if e == nil || e.Reason != pb.ErrorReason_ETAG_MISMATCH {
		return err
	}
	const lookBack = 100
	rows, readErr := s.Log.Revisions(ctx, name, 0, lookBack)
	if readErr != nil || len(rows) == 0 {
		return err
	}
	current := blank()
	if proto.Unmarshal(rows[0].Body, current) != nil {
		return err
	}
	var accounts []string
	for i, row := range rows {
		older := blank()
		if row.Body == nil || proto.Unmarshal(row.Body, older) != nil {
			break
		}
		if older.GetEtag() == sent {
			e.Metadata["changed_fields"] = strings.Join(changedFields(older, current), ",")
			e.Metadata["changed_by"] = strings.Join(accounts, ",")
			e.Message = fmt.Sprintf("%s; changed since you read it: %s", e.Message, e.Metadata["changed_fields"])
			break
		}
		if i < 5 && !slices.Contains(accounts, row.Actor) {
			accounts = append(accounts, row.Actor)
		}
	}
	return e
}

// changedFields names the top-level fields in which two messages of one type differ.
func changedFields(a, b proto.Message) []string {
	var names []string
	fields := a.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if slices.Contains(bookkeeping, f.Name()) {
			continue
		}
		has, had := b.ProtoReflect().Has(f), a.ProtoReflect().Has(f)
		if has != had || has && !a.ProtoReflect().Get(f).Equal(b.ProtoReflect().Get(f)) {
			names = append(names, string(f.Name()))
		}
	}
	return names
}
