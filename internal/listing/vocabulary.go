package listing

import (
	"context"
	"maps"
	"slices"
	"strings"

	pb "github.com/aitheater/theater/api/theater/v1"
)

// ListGenres implements pb.ListingServiceServer.
func (s *Service) ListGenres(ctx context.Context, req *pb.ListingServiceListGenresRequest) (*pb.ListingServiceListGenresResponse, error) {
	v, err := narrow(ctx, req.GetViewer())
	if err != nil {
		return nil, err
	}
	g := s.look(v)
	counts := s.census.count(g)
	m := new(pb.ListingServiceListGenresResponse)
	for i, genre := range g.snap.Genres() {
		if i < len(counts.films) && counts.films[i] > 0 {
			slug := strings.TrimPrefix(genre.GetName(), "genres/")
			name := localized(genre.GetDisplayNames(), v.GetLanguages(), "en")
			if name == "" {
				name = slug
			}
			m.Genres = append(m.Genres, &pb.GenreCount{Genre: slug, Name: name, FilmCount: counts.films[i]})
		}
	}
	return m, nil
}

// ListCharts implements pb.ListingServiceServer.
func (s *Service) ListCharts(ctx context.Context, req *pb.ListingServiceListChartsRequest) (*pb.ListingServiceListChartsResponse, error) {
	if _, err := narrow(ctx, req.GetViewer()); err != nil {
		return nil, err
	}
	byName := map[string]*pb.Chart{}
	for _, c := range s.Charts.Charts() {
		byName[c.GetName()] = c
	}
	for _, c := range s.Shelf.Current().Charts() {
		byName[c.GetName()] = c
	}
	m := new(pb.ListingServiceListChartsResponse)
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		m.Charts = append(m.Charts, byName[name])
	}
	return m, nil
}
