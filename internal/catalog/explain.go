package catalog

import (
	"context"
	"slices"
	"time"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/generations"
	"github.com/aitheater/theater/internal/resource"
	"github.com/aitheater/theater/internal/shelf"
)

// Lists are the current ranked lists (generations.Store).
type Lists interface {
	Latest(chart, market string) *generations.List
}

// Stage is where films are shown besides what the shelf holds: the ranked lists, and the
// charts and sections that ship with the program.
type Stage struct {
	Lists    Lists
	Charts   []*pb.Chart
	Sections []*pb.Section
}

// OnStage tells ExplainVisibility where films are shown. Call it before serving.
func (s *Service) OnStage(stage Stage) { s.stage = stage }

// ExplainVisibility implements pb.CatalogServiceServer: the gate, rule by rule, for the film
// as it is now and the moment asked about.
func (s *Service) ExplainVisibility(ctx context.Context, req *pb.ExplainVisibilityRequest) (*pb.ExplainVisibilityResponse, error) {
	if err := resource.CheckName("film", filmPrefix, req.GetFilm()); err != nil {
		return nil, err
	}
	viewer, err := auth.Narrow(auth.CallerFrom(ctx), req.GetViewer())
	if err != nil {
		return nil, err
	}
	at := s.clock.Now()
	if t := req.GetTime(); t != nil {
		if t.CheckValid() != nil {
			return nil, fault.Invalid("time", "must be a time between the years 1 and 9999")
		}
		at = t.AsTime()
	}
	now := s.shelf.Current()
	e := now.Film(req.GetFilm())
	if e == nil {
		return nil, fault.FilmNotFound()
	}
	checks := now.Explain(shelf.NewViewer(viewer), e, at)
	return &pb.ExplainVisibilityResponse{
		Visible:  !slices.ContainsFunc(checks, func(c *pb.GateCheck) bool { return !c.GetPassed() }),
		Checks:   checks,
		Charts:   s.chartsWith(now, e, viewer.GetMarket()),
		Sections: s.sectionsWith(now, e, viewer.GetMarket(), at),
	}, nil
}

// chartsWith names the charts whose current list of a market holds the film.
func (s *Service) chartsWith(now *shelf.Snapshot, e *shelf.Entry, market string) []string {
	var names []string
	for _, c := range slices.Concat(s.stage.Charts, now.Charts()) {
		if !slices.Contains(names, c.GetName()) && s.onChart(c.GetName(), market, e.Name) {
			names = append(names, c.GetName())
		}
	}
	slices.Sort(names)
	return names
}

func (s *Service) onChart(chart, market, film string) bool {
	if s.stage.Lists == nil {
		return false
	}
	list := s.stage.Lists.Latest(chart, market)
	return list != nil && slices.ContainsFunc(list.Entries, func(e generations.Entry) bool { return e.Film == film })
}

// sectionsWith names the sections whose source or pins hold the film, whether or not they
// would show it to the viewer.
func (s *Service) sectionsWith(now *shelf.Snapshot, e *shelf.Entry, market string, at time.Time) []string {
	var names []string
	for _, section := range now.Sections() {
		if s.holds(now, section, e, market, at) {
			names = append(names, section.GetName())
		}
	}
	for _, section := range s.stage.Sections {
		if now.Section(section.GetName()) == nil && s.holds(now, section, e, market, at) {
			names = append(names, section.GetName())
		}
	}
	slices.Sort(names)
	return names
}

func (s *Service) holds(now *shelf.Snapshot, section *pb.Section, e *shelf.Entry, market string, at time.Time) bool {
	if slices.ContainsFunc(section.GetPins(), func(p *pb.Pin) bool { return p.GetFilm() == e.Name }) {
		return true
	}
	switch source := section.GetSource().(type) {
	case *pb.Section_Manual:
		return slices.Contains(source.Manual.GetFilms(), e.Name)
	case *pb.Section_Chart:
		return (source.Chart.GetGenre() == "" || e.HasGenre(source.Chart.GetGenre())) && s.onChart(source.Chart.GetChart(), market, e.Name)
	case *pb.Section_Rule:
		filter, err := shelf.CompileFilter(source.Rule.GetFilter())
		return err == nil && !e.Deleted && filter.MatchIn(now, e, at, market) // a stored filter compiles
	}
	return false
}
