package catalog

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
)

var noon = time.Date(2026, 11, 12, 12, 0, 0, 0, time.UTC)

func TestForm(t *testing.T) {
	for runtime, want := range map[time.Duration]pb.Film_Form{
		1:                               pb.Film_SHORT,
		14*time.Minute + 59*time.Second: pb.Film_SHORT,
		15*time.Minute - 1:              pb.Film_SHORT,
		15 * time.Minute:                pb.Film_FEATURE,
		15*time.Minute + time.Second:    pb.Film_FEATURE,
	} {
		f := &pb.Film{Runtime: durationpb.New(runtime)}
		derive(f)
		assert.Equal(t, want, f.Form, runtime)
	}
	f := &pb.Film{Form: pb.Film_FEATURE}
	derive(f)
	assert.Equal(t, pb.Film_FORM_UNSPECIFIED, f.Form)
}

func TestSourceTypeIsWrittenAsHTTP(t *testing.T) {
	for in, want := range map[string]string{
		"https://cv.iptc.org/newscodes/digitalsourcetype/compositeSynthetic": "http://cv.iptc.org/newscodes/digitalsourcetype/compositeSynthetic",
		generated:                  generated,
		"":                         "",
		"https://example.org/mine": "https://example.org/mine",
	} {
		f := &pb.Film{Provenance: &pb.Provenance{DigitalSourceType: in}}
		derive(f)
		assert.Equal(t, want, f.Provenance.DigitalSourceType)
	}
}

func TestTransitions(t *testing.T) {
	const draft, review, published, down = pb.Film_DRAFT, pb.Film_IN_REVIEW, pb.Film_PUBLISHED, pb.Film_TAKEN_DOWN
	all := []pb.Film_State{draft, review, published, down}
	for name, c := range map[string]struct {
		change transition
		to     map[pb.Film_State]pb.Film_State // what is absent is refused
	}{
		"submit":    {move("x", review, draft), map[pb.Film_State]pb.Film_State{draft: review}},
		"return":    {move("x", draft, review), map[pb.Film_State]pb.Film_State{review: draft}},
		"publish":   {move("x", published, draft, review), map[pb.Film_State]pb.Film_State{draft: published, review: published}},
		"withdraw":  {move("x", draft, published), map[pb.Film_State]pb.Film_State{published: draft}},
		"take down": {func(f *pb.Film, _ time.Time) error { return takeDown(f, "why", nil) }, map[pb.Film_State]pb.Film_State{published: down, down: down}},
		"reinstate": {reinstate, map[pb.Film_State]pb.Film_State{down: published}},
	} {
		for _, from := range all {
			f := &pb.Film{Name: "films/a", State: from}
			err := c.change(f, noon)
			if to, ok := c.to[from]; ok {
				require.NoError(t, err, "%s of %s", name, from)
				assert.Equal(t, to, f.State, "%s of %s", name, from)
			} else {
				assert.True(t, fault.Is(err, pb.ErrorReason_WRONG_STATE), "%s of %s: %v", name, from, err)
				assert.Equal(t, from, f.State)
			}
			gone := &pb.Film{Name: "films/a", State: from, DeleteTime: timestamppb.New(noon)}
			assert.True(t, fault.Is(c.change(gone, noon), pb.ErrorReason_WRONG_STATE), "%s of a deleted %s", name, from)
		}
	}
	for _, from := range all {
		f := &pb.Film{Name: "films/a", State: from, TakenDownMarkets: []string{"GB"}}
		require.NoError(t, remove(f, noon))
		assert.Equal(t, from, f.State)
		assert.True(t, fault.Is(remove(f, noon), pb.ErrorReason_WRONG_STATE))
		require.NoError(t, restore(f, noon))
		assert.Equal(t, draft, f.State)
		assert.Nil(t, f.DeleteTime)
		assert.Equal(t, []string{"GB"}, f.TakenDownMarkets, "a market's take-down outlives deletion")
		assert.True(t, fault.Is(restore(f, noon), pb.ErrorReason_ALREADY_EXISTS))
	}
}

func TestFirstPublishTimeIsKept(t *testing.T) {
	f := &pb.Film{State: pb.Film_DRAFT}
	enter(f, pb.Film_PUBLISHED, noon)
	enter(f, pb.Film_DRAFT, noon.Add(time.Hour))
	enter(f, pb.Film_PUBLISHED, noon.Add(2*time.Hour))
	assert.Equal(t, noon, f.FirstPublishTime.AsTime())
}

func TestTakeDownByMarket(t *testing.T) {
	f := &pb.Film{State: pb.Film_PUBLISHED}
	require.NoError(t, takeDown(f, "complaint", []string{"SG", "GB"}))
	require.NoError(t, takeDown(f, "", []string{"GB", "CN"}))
	assert.Equal(t, pb.Film_PUBLISHED, f.State)
	assert.Equal(t, []string{"CN", "GB", "SG"}, f.TakenDownMarkets)
	assert.Equal(t, "complaint", f.TakeDownReason, "the last reason given")
	require.NoError(t, takeDown(f, "court order", nil))
	assert.Equal(t, pb.Film_TAKEN_DOWN, f.State)
	require.NoError(t, takeDown(f, "", []string{"US"}))
	assert.Equal(t, pb.Film_TAKEN_DOWN, f.State, "a smaller take-down does not lift a larger one")
	require.NoError(t, reinstate(f, noon))
	assert.Empty(t, f.TakenDownMarkets)
	assert.Empty(t, f.TakeDownReason)
	assert.Error(t, reinstate(f, noon), "nothing is left to reinstate")
}

func TestUnpublishable(t *testing.T) {
	rules := func(f *pb.Film) (ids []string) {
		for _, v := range unpublishable(f, false, noon) {
			assert.NotEmpty(t, v.Description)
			ids = append(ids, v.Rule)
		}
		return ids
	}
	assert.Empty(t, rules(lantern()))
	assert.Equal(t, []string{"film-title", "film-runtime", "film-content-type", "film-digital-source-type"}, rules(&pb.Film{Name: "films/a"}))
	f := lantern()
	f.DefaultLanguage = "EN"
	assert.Empty(t, rules(f), "languages match without case")
	f.DefaultLanguage = "fr"
	assert.Equal(t, []string{"film-title"}, rules(f))
	f = lantern()
	f.Provenance.DigitalSourceType = "http://cv.iptc.org/newscodes/digitalsourcetype/invented"
	assert.Equal(t, []string{"film-digital-source-type"}, rules(f))
	f = lantern()
	f.Genres, f.Ratings, f.AgeBand, f.Artwork, f.Availability = nil, nil, 0, nil, nil
	assert.Empty(t, rules(f), "none of these is asked for")
}

func TestEtagCoversWhatIsEditable(t *testing.T) {
	tag := func(change func(f *pb.Film)) string {
		f := lantern()
		f.Name, f.State = "films/a", pb.Film_DRAFT
		change(f)
		s, err := etag(f)
		require.NoError(t, err)
		return s
	}
	base := tag(func(*pb.Film) {})
	for name, change := range map[string]func(f *pb.Film){
		"stats":  func(f *pb.Film) { f.Stats = &pb.FilmStats{Plays: 9} },
		"awards": func(f *pb.Film) { f.Awards = []*pb.Award{{Prize: "first"}} },
		"stamps": func(f *pb.Film) {
			f.Uid, f.Revision, f.Etag, f.Form = "u", 7, "e", pb.Film_FEATURE
			f.CreateTime, f.UpdateTime, f.FirstPublishTime = timestamppb.Now(), timestamppb.Now(), timestamppb.Now()
		},
	} {
		assert.Equal(t, base, tag(change), name)
	}
	for name, change := range map[string]func(f *pb.Film){
		"state":    func(f *pb.Film) { f.State = pb.Film_IN_REVIEW },
		"deletion": func(f *pb.Film) { f.DeleteTime = timestamppb.New(noon) },
		"markets":  func(f *pb.Film) { f.TakenDownMarkets = []string{"GB"} },
		"title":    func(f *pb.Film) { f.Localizations["en"].Title = "Lantern" },
		"licences": func(f *pb.Film) { f.Licenses = []*pb.License{{Market: "CN"}} },
	} {
		assert.NotEqual(t, base, tag(change), name)
	}
}

func TestBasicViewLeavesWhatItSays(t *testing.T) {
	f := lantern()
	f.Credits, f.Media, f.Artwork = []*pb.Credit{{}}, []*pb.Media{{}}, []*pb.Artwork{{}}
	f.Provenance.Stages = []*pb.ProductionStage{{}}
	basic(f)
	want := lantern()
	delete(want.Localizations, "zh-Hans")
	assert.True(t, proto.Equal(want, f), "%v", f)
}

func TestHides(t *testing.T) {
	day := func(n int) *timestamppb.Timestamp { return timestamppb.New(noon.AddDate(0, 0, n)) }
	review := &pb.MinorsReview{Reviewer: "R", AgeBand: pb.Film_AGE_8}
	stored := func() *pb.Film {
		f := lantern()
		f.State, f.MinorsReview = pb.Film_PUBLISHED, proto.CloneOf(review)
		f.Availability = []*pb.Availability{{Markets: []string{"GB", "SG"}, AnnounceTime: day(-9), StartTime: day(-5), EndTime: day(5)}}
		f.Ratings = []*pb.Rating{{Market: "GB", System: "BBFC", Code: "PG"}}
		f.Licenses = []*pb.License{{Market: "CN", Kind: "online-film", Number: "1"}}
		return f
	}
	window := func(f *pb.Film) *pb.Availability { return f.Availability[0] }
	for name, change := range map[string]func(f *pb.Film){
		"withdrawn": func(f *pb.Film) { f.State = pb.Film_DRAFT }, "taken down": func(f *pb.Film) { f.State = pb.Film_TAKEN_DOWN },
		"deleted": func(f *pb.Film) { f.DeleteTime = day(0) }, "down in a market": func(f *pb.Film) { f.TakenDownMarkets = []string{"GB"} },
		"no window": func(f *pb.Film) { f.Availability = nil }, "a market less": func(f *pb.Film) { window(f).Markets = []string{"GB"} },
		"other markets": func(f *pb.Film) { window(f).Markets = []string{"GB", "US"} }, "ends sooner": func(f *pb.Film) { window(f).EndTime = day(4) },
		"starts later": func(f *pb.Film) { window(f).StartTime = day(-4) }, "announced later": func(f *pb.Film) { window(f).AnnounceTime = day(-8) },
		"not announced": func(f *pb.Film) { window(f).AnnounceTime = nil }, "band raised": func(f *pb.Film) { f.AgeBand = pb.Film_AGE_12 },
		"band unknown": func(f *pb.Film) { f.AgeBand = 0 }, "review gone": func(f *pb.Film) { f.MinorsReview = nil },
		"review raised": func(f *pb.Film) { f.MinorsReview.AgeBand = pb.Film_AGE_16 }, "rating added": func(f *pb.Film) {
			f.Ratings = append(f.Ratings, &pb.Rating{Market: "DE", System: "FSK", Code: "18"})
		},
		"rating raised": func(f *pb.Film) { f.Ratings[0].Code = "18" }, "licence gone": func(f *pb.Film) { f.Licenses = nil },
		"source type": func(f *pb.Film) { f.Provenance.DigitalSourceType = "?" }, "no provenance": func(f *pb.Film) { f.Provenance = nil },
		"shorter": func(f *pb.Film) { f.Runtime = durationpb.New(time.Minute) }, "genre": func(f *pb.Film) { f.Genres = nil },
	} {
		f := stored()
		change(f)
		assert.True(t, hides(stored(), f), name)
		draft := stored()
		draft.State = pb.Film_DRAFT
		assert.False(t, hides(draft, f), "%s: nobody saw it", name)
	}
	for name, change := range map[string]func(f *pb.Film){
		"nothing": func(*pb.Film) {}, "title": func(f *pb.Film) { f.Localizations["en"].Title = "Other" }, "credits": func(f *pb.Film) { f.Credits = []*pb.Credit{{Role: "x"}} },
		"everywhere": func(f *pb.Film) { window(f).Markets = nil }, "for ever": func(f *pb.Film) { window(f).EndTime = nil }, "always": func(f *pb.Film) {
			window(f).StartTime, window(f).AnnounceTime = nil, nil
		},
		"one more window": func(f *pb.Film) { f.Availability = append(f.Availability, &pb.Availability{Markets: []string{"US"}}) },
		"band lowered":    func(f *pb.Film) { f.AgeBand = pb.Film_AGE_3 }, "review lowered": func(f *pb.Film) { f.MinorsReview.AgeBand = pb.Film_AGE_3 },
		"licence added": func(f *pb.Film) { f.Licenses = append(f.Licenses, &pb.License{Market: "US"}) },
		"review noted":  func(f *pb.Film) { f.MinorsReview.Note = "again" },
		"lifted":        func(f *pb.Film) { f.TakenDownMarkets = nil },
	} {
		f := stored()
		change(f)
		assert.False(t, hides(stored(), f), name)
	}
}
