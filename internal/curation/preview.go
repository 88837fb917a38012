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
	"github.com/aitheater/theater/internal/generations"
	"github.com/aitheater/theater/internal/shelf"
)

// PreviewHome implements pb.CurationServiceServer.
func (s *Service) PreviewHome(ctx context.Context, req *pb.PreviewHomeRequest) (*pb.PreviewHomeResponse, error) {
	v, err := auth.Narrow(auth.CallerFrom(ctx), req.GetViewer())
	if err != nil {
		return nil, err
	}
	now := s.Clock.Now()
	at := now
	if req.GetTime() != nil {
		if req.GetTime().CheckValid() != nil {
			return nil, fault.Invalid("time", "must be a time between the years 1 and 9999")
		}
		at = req.GetTime().AsTime()
	}
	p := &preview{s: s, at: at}
	if at.Before(now) {
		err = p.past(ctx, now)
	} else {
		p.snap = s.Shelf.Current()
		p.lists = s.Generations.Latest
		if at.After(now) {
			p.notes = append(p.notes, "chart sections show today's generation: what will be watched until then is not known")
		}
	}
	if err != nil {
		return nil, err
	}
	if err := p.think(req.GetReleases()); err != nil {
		return nil, err
	}
	out, err := s.Pages.ComposeHome(p.snap, p.lists, v, req.GetPage(), at, req.GetSectionLimit(), req.GetCardsPerSection())
	if err != nil {
		return nil, err
	}
	out.Notes = p.notes
	return out, p.err
}

// preview is what a page is composed from at a time.
type preview struct {
	s     *Service
	at    time.Time
	snap  *shelf.Snapshot
	lists func(chart, market string) *generations.List
	notes []string
	err   error // of lists, which has no way to say so
}

// historyOf is how far back a page can be shown.
const historyOf = 400 * 24 * time.Hour

// past makes the snapshot of then, and lists recomputed from the ledger.
func (p *preview) past(ctx context.Context, now time.Time) error {
	if now.Sub(p.at) > historyOf {
		return fault.Invalid("time", "must be within the last 400 days: older history is not kept")
	}
	var all []changes.Resource
	revision, err := p.s.Log.AsOf(ctx, p.at, func(r changes.Resource) error {
		all = append(all, r)
		return nil
	})
	if err != nil {
		return err
	}
	if p.snap, err = shelf.Of(revision, all); err != nil {
		return err
	}
	type key struct{ chart, market string }
	made := map[key]*generations.List{}
	p.lists = func(chart, market string) *generations.List {
		k := key{chart, market}
		list, ok := made[k]
		if !ok && p.err == nil {
			list, p.err = p.s.Rankings.AsOf(ctx, p.snap, chart, market, p.at)
			made[k] = list
		}
		return list
	}
	p.notes = append(p.notes, "chart sections are recomputed from the ledger and the catalogue of then")
	return nil
}

// think applies to the snapshot, in thought, the scheduled releases due by then, by time, and
// then the chosen ones, in the order given.
func (p *preview) think(chosen []string) error {
	var order []*pb.Release
	for _, r := range p.snap.Releases() {
		if r.GetState() == pb.Release_SCHEDULED && !r.GetPublishTime().AsTime().After(p.at) && !slices.Contains(chosen, r.GetName()) {
			order = append(order, r)
		}
	}
	slices.SortStableFunc(order, func(a, b *pb.Release) int {
		return a.GetPublishTime().AsTime().Compare(b.GetPublishTime().AsTime())
	})
	for _, name := range chosen {
		r, err := p.s.release(name)
		if err != nil {
			return err
		}
		order = append(order, r)
	}
	for _, r := range order {
		at := p.at
		if r.GetState() == pb.Release_SCHEDULED && r.GetPublishTime().AsTime().Before(at) {
			at = r.GetPublishTime().AsTime()
		}
		if problems := p.s.problems(r, p.snap, at); stops(problems) {
			p.notes = append(p.notes, invalid(r.GetName(), problems).Message+"; the preview shows the page without it")
			continue
		}
		if err := p.apply(r, at); err != nil {
			return err
		}
	}
	return nil
}

// apply derives the snapshot after a release.
func (p *preview) apply(r *pb.Release, at time.Time) error {
	var after []changes.Resource
	for _, c := range r.GetChanges() {
		var m proto.Message
		switch c := c.GetChange().(type) {
		case *pb.ReleaseChange_Section:
			m = c.Section
		case *pb.ReleaseChange_Layout:
			m = c.Layout
		case *pb.ReleaseChange_FilmState:
			film := p.snap.Film(c.FilmState.GetFilm()).Film()
			film.State = c.FilmState.GetState()
			if film.GetState() == pb.Film_PUBLISHED && film.GetFirstPublishTime() == nil {
				film.FirstPublishTime = timestamppb.New(at)
			}
			m = film
		case *pb.ReleaseChange_Delete:
			after = append(after, changes.Resource{Name: c.Delete.GetName(), Revision: p.snap.Revision()})
			continue
		}
		body, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			return err
		}
		after = append(after, changes.Resource{Name: subject(c), Revision: p.snap.Revision(), Body: body})
	}
	p.snap = p.snap.With(p.snap.Revision(), after)
	return nil
}
