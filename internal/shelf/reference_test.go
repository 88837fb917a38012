package shelf

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/disclosure"
)

// referenceGate is the gate as the contract says it, over the message, without regard to cost.
func referenceGate(f *pb.Film, v *pb.Viewer, now time.Time) Verdict {
	kids := v.GetAudience() != pb.Viewer_ADULT
	band := v.GetAgeBand()
	if band == pb.Film_AGE_BAND_UNSPECIFIED {
		band = pb.Film_ALL
	}
	switch {
	case f.GetState() != pb.Film_PUBLISHED, f.DeleteTime != nil:
		return Hidden
	case slices.Contains(f.GetTakenDownMarkets(), v.GetMarket()):
		return Hidden
	case !disclosure.Known(f.GetProvenance().GetDigitalSourceType()):
		return Hidden
	case !disclosure.Showable(f, v.GetMarket(), now):
		return Hidden
	}
	if kids {
		if f.GetAgeBand() == 0 || f.GetAgeBand() > band || f.GetMinorsReview().GetAgeBand() == 0 || f.GetMinorsReview().GetAgeBand() > band {
			return Hidden
		}
		for _, r := range f.GetRatings() {
			if b, ok := ratingBands[v.GetMarket()][r.GetSystem()][r.GetCode()]; ok && r.GetMarket() == v.GetMarket() && b > band {
				return Hidden
			}
		}
	}
	verdict := Hidden
	for _, a := range f.GetAvailability() {
		if len(a.GetMarkets()) > 0 && !slices.Contains(a.GetMarkets(), v.GetMarket()) {
			continue
		}
		started := a.StartTime == nil || !now.Before(a.StartTime.AsTime())
		ended := a.EndTime != nil && !now.Before(a.EndTime.AsTime())
		announced := a.AnnounceTime != nil && !now.Before(a.AnnounceTime.AsTime())
		empty := a.StartTime != nil && a.EndTime != nil && !a.StartTime.AsTime().Before(a.EndTime.AsTime())
		switch {
		case ended || empty:
		case started:
			return Playing
		case announced:
			verdict = Coming
		}
	}
	return verdict
}

var (
	someMarkets  = []string{"US", "GB", "DE", "SG", "CN", "JP"}
	someSystems  = []string{"MPA", "TV", "BBFC", "FSK", "IMDA", "OTHER"}
	someCodes    = []string{"G", "PG", "PG-13", "R", "NC-17", "U", "12A", "15", "18", "0", "6", "12", "16", "PG13", "R21", "TV-Y", "TV-MA", "X"}
	someTags     = []string{"en", "en-GB", "zh-Hans", "zh-Hant", "zh-HK", "sr", "sr-Latn", "pt-BR", "cn", "xx"}
	someTerms    = []string{"trainedAlgorithmicMedia", "compositeSynthetic", "algorithmicallyEnhanced", "digitalCreation", "digitalCapture", "unheardOf"}
	someGenres   = []string{"drama", "comedy", "animals"}
	someInstants = rapid.Custom(func(t *rapid.T) time.Time {
		days := rapid.IntRange(-40, 40).Draw(t, "days")
		return now.AddDate(0, 0, days).Add(time.Duration(rapid.IntRange(-1, 1).Draw(t, "tick")) * time.Microsecond)
	})
)

func someTime(t *rapid.T, label string) *timestamppb.Timestamp {
	if rapid.Bool().Draw(t, "no "+label) {
		return nil
	}
	return timestamppb.New(someInstants.Draw(t, label))
}

// someFilm draws a film from all that the gate and the cards look at, mostly showable.
func someFilm(t *rapid.T, name string) *pb.Film {
	mostly := func(label string) bool { return rapid.IntRange(0, 9).Draw(t, label) > 0 }
	f := &pb.Film{
		Name: name, State: pb.Film_PUBLISHED, DefaultLanguage: rapid.SampledFrom(someTags).Draw(t, "default"),
		Localizations: map[string]*pb.FilmLocalization{},
		Runtime:       durationpb.New(time.Duration(rapid.IntRange(0, 9000).Draw(t, "runtime")) * time.Second),
		ContentType:   pb.Film_ContentType(rapid.IntRange(0, 5).Draw(t, "content type")),
		AgeBand:       pb.Film_AgeBand(rapid.IntRange(0, 6).Draw(t, "band")),
		Genres:        rapid.SliceOfNDistinct(rapid.SampledFrom(someGenres), 0, 3, rapid.ID).Draw(t, "genres"),
		Provenance:    &pb.Provenance{DigitalSourceType: "https://cv.iptc.org/newscodes/digitalsourcetype/" + rapid.SampledFrom(someTerms).Draw(t, "source")},
	}
	if f.Runtime.Seconds == 0 {
		f.Runtime = nil
	}
	if !mostly("published") {
		f.State = pb.Film_State(rapid.IntRange(0, 4).Draw(t, "state"))
	}
	if !mostly("not deleted") {
		f.DeleteTime = timestamppb.New(now)
	}
	if !mostly("not taken down") {
		f.TakenDownMarkets = []string{rapid.SampledFrom(someMarkets).Draw(t, "taken down")}
	}
	if mostly("reviewed") {
		f.MinorsReview = &pb.MinorsReview{Reviewer: "Ada", AgeBand: pb.Film_AgeBand(rapid.IntRange(0, 6).Draw(t, "review"))}
	}
	if mostly("licensed") {
		f.Licenses = []*pb.License{{Market: "CN", Kind: rapid.SampledFrom([]string{disclosure.OnlineFilm, disclosure.MicroDramaFiling}).Draw(t, "licence"), Number: "1"}}
	}
	for range rapid.IntRange(0, 3).Draw(t, "ratings") {
		f.Ratings = append(f.Ratings, &pb.Rating{
			Market: rapid.SampledFrom(someMarkets).Draw(t, "market"), System: rapid.SampledFrom(someSystems).Draw(t, "system"),
			Code: rapid.SampledFrom(someCodes).Draw(t, "code"), Reasons: []string{"violence"},
		})
	}
	for range rapid.IntRange(1, 3).Draw(t, "windows") {
		w := &pb.Availability{Markets: rapid.SliceOfNDistinct(rapid.SampledFrom(someMarkets), 0, 5, rapid.ID).Draw(t, "markets")}
		if rapid.Bool().Draw(t, "announced only") {
			w.AnnounceTime, w.StartTime = timestamppb.New(now.AddDate(0, 0, -50)), timestamppb.New(now.AddDate(0, 0, rapid.IntRange(30, 60).Draw(t, "start in days")))
		} else {
			w.AnnounceTime, w.StartTime, w.EndTime = someTime(t, "announce"), someTime(t, "start"), someTime(t, "end")
		}
		f.Availability = append(f.Availability, w)
	}
	for _, tag := range append(rapid.SliceOfNDistinct(rapid.SampledFrom(someTags), 0, 3, rapid.ID).Draw(t, "languages"), f.DefaultLanguage) {
		f.Localizations[tag] = &pb.FilmLocalization{Title: "Title in " + tag, Tagline: strings.Repeat("Tagline ", len(tag)), Synopsis: "Synopsis in " + tag}
	}
	for i := range rapid.IntRange(0, 4).Draw(t, "pictures") {
		f.Artwork = append(f.Artwork, &pb.Artwork{
			Kind: pb.Artwork_Kind(rapid.IntRange(1, 3).Draw(t, "kind")), Uri: fmt.Sprintf("/art/%d", i), Width: int32(i),
			Language: rapid.SampledFrom(append(someTags, "", "", "")).Draw(t, "picture language"),
		})
	}
	for range rapid.IntRange(0, 3).Draw(t, "credits") {
		f.Credits = append(f.Credits, &pb.Credit{
			Role:  rapid.SampledFrom([]string{"director", "creator", "voice"}).Draw(t, "role"),
			Names: map[string]string{rapid.SampledFrom(someTags).Draw(t, "tag"): rapid.SampledFrom([]string{"Li Dan", "Wen Ye"}).Draw(t, "name")},
		})
	}
	if rapid.Bool().Draw(t, "award") {
		f.Awards = []*pb.Award{{Competition: "First", Prize: "Best", Date: &pb.PartialDate{Year: 2025}}}
		f.ReleaseDate = &pb.PartialDate{Year: 2025, Month: 11}
	}
	return f
}

func someViewer(t *rapid.T) *pb.Viewer {
	return &pb.Viewer{
		Market:    rapid.SampledFrom(someMarkets).Draw(t, "viewer's market"),
		Audience:  rapid.SampledFrom([]pb.Viewer_Audience{pb.Viewer_ADULT, pb.Viewer_ADULT, pb.Viewer_KIDS, pb.Viewer_AUDIENCE_UNSPECIFIED}).Draw(t, "audience"),
		AgeBand:   pb.Film_AgeBand(rapid.IntRange(0, 5).Draw(t, "viewer's band")),
		Languages: rapid.SliceOfN(rapid.SampledFrom(someTags), 0, 3).Draw(t, "viewer's languages"),
	}
}
