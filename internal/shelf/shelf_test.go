package shelf

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/changes"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// film makes a film that everyone sees, children of all ages too.
func film(name string, edit ...func(*pb.Film)) *pb.Film {
	f := &pb.Film{
		Name: name, State: pb.Film_PUBLISHED, DefaultLanguage: "en",
		Localizations: map[string]*pb.FilmLocalization{"en": {Title: "Title of " + name}},
		Form:          pb.Film_FEATURE, Runtime: durationpb.New(90 * time.Minute), ContentType: pb.Film_ANIMATION,
		Genres: []string{"drama"}, AgeBand: pb.Film_ALL,
		Availability: []*pb.Availability{{}},
		MinorsReview: &pb.MinorsReview{Reviewer: "Ada", AgeBand: pb.Film_ALL},
		Provenance:   &pb.Provenance{DigitalSourceType: "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"},
	}
	for _, e := range edit {
		e(f)
	}
	return f
}

func resource(t testing.TB, revision int64, m message) changes.Resource {
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	require.NoError(t, err)
	return changes.Resource{Name: m.GetName(), Revision: revision, Body: body}
}

// load gives a shelf that holds the messages as of revision 1.
func load(t testing.TB, messages ...message) *Shelf {
	s := New()
	require.NoError(t, s.Load(1, func() (changes.Resource, bool) {
		if len(messages) == 0 {
			return changes.Resource{}, false
		}
		m := messages[0]
		messages = messages[1:]
		return resource(t, 1, m), true
	}))
	return s
}

var (
	adult = NewViewer(&pb.Viewer{Market: "US", Audience: pb.Viewer_ADULT, Languages: []string{"en"}})
	child = NewViewer(&pb.Viewer{Market: "US"})
)

func verdict(s *Shelf, v *Viewer, name string) Verdict {
	got, _ := s.Current().Gate(v, s.Current().Film(name), now)
	return got
}

func TestLoadAndApply(t *testing.T) {
	s := load(t, film("films/b"), &pb.Genre{Name: "genres/drama"}, film("films/a"), &pb.Layout{Name: "layouts/home"})
	first := s.Current()
	assert.EqualValues(t, 1, first.Revision())
	assert.EqualValues(t, 2, first.Slots())
	assert.Equal(t, "genres/drama", first.Genre("genres/drama").GetName())
	assert.Nil(t, first.Section("sections/none"))
	assert.Nil(t, first.Film("films/none"))
	slot, ok := first.Slot("films/a")
	require.True(t, ok)
	assert.Equal(t, "films/a", first.At(slot).Name)
	assert.True(t, proto.Equal(film("films/a"), first.At(slot).Film()))
	editorial, version := first.EditorialRevision(), s.Version(slot)

	s.Apply(2, []changes.Resource{
		resource(t, 2, film("films/a", func(f *pb.Film) { f.Runtime = durationpb.New(time.Minute) })),
		resource(t, 2, film("films/c")),
		{Name: "films/b", Revision: 2},
	})
	second := s.Current()
	assert.Equal(t, 60.0, second.At(slot).Runtime)
	assert.Equal(t, 5400.0, first.At(slot).Runtime, "a snapshot never changes")
	assert.NotEqual(t, version, s.Version(slot))
	assert.Nil(t, second.Film("films/b"), "purged")
	assert.NotNil(t, first.Film("films/b"))
	assert.Nil(t, first.Film("films/c"), "not yet in the older snapshot")
	assert.NotNil(t, second.Film("films/c"))
	assert.Equal(t, editorial, second.EditorialRevision())

	s.Apply(3, []changes.Resource{resource(t, 3, &pb.Section{Name: "sections/b"}), resource(t, 3, &pb.Section{Name: "sections/a"}), {Name: "genres/drama", Revision: 3}})
	third := s.Current()
	assert.NotEqual(t, editorial, third.EditorialRevision())
	assert.Nil(t, third.Genre("genres/drama"))
	require.Len(t, third.Sections(), 2)
	assert.Equal(t, "sections/a", third.Sections()[0].GetName())
}

func TestWithdrawClosesUntilTheRevisionIsApplied(t *testing.T) {
	s := load(t, film("films/a"))
	slot, _ := s.Current().Slot("films/a")
	version := s.Version(slot)
	require.Equal(t, Playing, verdict(s, adult, "films/a"))

	s.Withdraw(5, []string{"films/a", "films/unseen"})
	assert.Equal(t, Hidden, verdict(s, adult, "films/a"))
	assert.NotEqual(t, version, s.Version(slot))

	s.Apply(4, []changes.Resource{resource(t, 4, film("films/a")), resource(t, 3, film("films/unseen"))})
	assert.Equal(t, Hidden, verdict(s, adult, "films/a"), "older than the withdrawal")
	assert.Equal(t, Hidden, verdict(s, adult, "films/unseen"), "closed before it arrived")

	s.Apply(6, []changes.Resource{resource(t, 6, film("films/a"))})
	assert.Equal(t, Playing, verdict(s, adult, "films/a"))
}

func TestPreviewsTouchNothing(t *testing.T) {
	s := load(t, film("films/a"), &pb.Genre{Name: "genres/drama", DisplayNames: map[string]string{"en": "Drama"}})
	live := s.Current()
	slot, _ := live.Slot("films/a")
	version := s.Version(slot)
	preview := live.With(9, []changes.Resource{
		resource(t, 0, film("films/a", func(f *pb.Film) { f.State = pb.Film_DRAFT })),
		resource(t, 0, film("films/new")),
		resource(t, 0, &pb.Genre{Name: "genres/drama", DisplayNames: map[string]string{"en": "Plays"}}),
	})
	assert.Equal(t, pb.Film_DRAFT, preview.Film("films/a").State)
	assert.NotNil(t, preview.Film("films/new"))
	assert.Equal(t, "Plays", preview.GenreName("drama", adult))
	assert.Same(t, live, s.Current())
	assert.Nil(t, live.Film("films/new"))
	assert.Equal(t, pb.Film_PUBLISHED, live.Film("films/a").State)
	assert.Equal(t, version, s.Version(slot))

	s.Withdraw(20, []string{"films/a"})
	past, err := Of(3, []changes.Resource{resource(t, 2, film("films/a"))})
	require.NoError(t, err)
	got, _ := past.Gate(adult, past.Film("films/a"), now)
	assert.Equal(t, Playing, got, "what was withdrawn later was shown then")
	assert.EqualValues(t, 3, past.Revision())
}

func TestGenreNamesOfAPreviewStayOutOfServedCards(t *testing.T) {
	s := load(t, film("films/a"), &pb.Genre{Name: "genres/drama", DisplayNames: map[string]string{"en": "Drama"}})
	rename := func(to string) []changes.Resource {
		return []changes.Resource{resource(t, 2, &pb.Genre{Name: "genres/drama", DisplayNames: map[string]string{"en": to}})}
	}
	genre := func(s *Snapshot) string {
		c := &pb.FilmCard{}
		require.NoError(t, proto.Unmarshal(s.AppendCard(nil, s.Film("films/a"), adult, Playing, now), c))
		return c.GetGenres()[0].GetName()
	}
	preview := s.Current().With(2, rename("Preview"))
	assert.Equal(t, "Preview", genre(preview))
	s.Apply(2, rename("Live"))
	assert.Equal(t, "Live", genre(s.Current()))
	assert.Equal(t, "Preview", genre(preview))
}
