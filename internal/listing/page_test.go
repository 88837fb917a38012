package listing

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/shelf"
)

// made tells how many pages f had to be made for.
func (h *house) made(f func()) int64 {
	before := h.pages.misses.Load()
	f()
	return h.pages.misses.Load() - before
}

func (h *house) ranked(req *pb.ListRankedFilmsRequest) []string {
	m, err := h.ListRankedFilms(h.t.Context(), req)
	require.NoError(h.t, err)
	return namesOf(m.GetFilms())
}

func TestAPageIsKeptUntilSomethingItLookedAtChanges(t *testing.T) {
	h := newHouse(t)
	h.put(film("a"), film("b", adultOnly), film("c"), film("d"), film("far"))
	h.publish(list("hot", "a", "b", "c", "d", "far"))
	req := &pb.ListRankedFilmsRequest{Chart: "charts/hot", Viewer: child, PageSize: 2}
	page := func() { h.ranked(req) }
	for _, c := range []struct {
		name   string
		change func()
		made   int64
	}{
		{"first", nothing, 1},
		{"again", nothing, 0},
		{"a shown film", func() { h.edit("films/a", func(f *pb.Film) { f.Tags = []string{"x"} }) }, 1},
		{"a skipped film", func() { h.edit("films/b", func(f *pb.Film) { f.Tags = []string{"x"} }) }, 1},
		{"a film beyond the page", func() { h.edit("films/far", func(f *pb.Film) { f.Tags = []string{"x"} }) }, 0},
		{"a gate closed", func() { h.withdraw("films/c") }, 1},
		{"a genre", func() { h.put(&pb.Genre{Name: "genres/drama", DisplayNames: map[string]string{"en": "Plays"}}) }, 1},
		{"a new list", func() { h.publish(list("hot", "b", "a", "d", "far")) }, 1},
		{"another chart's list", func() { h.publish(list("hot", "b", "a", "d", "far"), list("all", "a")) }, 0},
		{"time", func() { h.at(noon.Add(time.Hour)) }, 0},
	} {
		c.change()
		assert.Equal(t, c.made, h.made(page), c.name)
		assert.Zero(t, h.made(page), "after "+c.name)
	}
}

func TestWindowsOpenAndCloseOnKeptPages(t *testing.T) {
	h := newHouse(t)
	h.put(film("always"),
		film("leaves", window(time.Time{}, noon.Add(-time.Hour), noon.Add(time.Hour))),
		film("comes", window(noon.Add(time.Hour), noon.Add(2*time.Hour), time.Time{})))
	h.publish(list("hot", "leaves", "comes", "always"))
	for _, c := range []struct {
		after time.Duration
		want  []string
	}{
		{0, []string{"leaves", "always"}},
		{time.Hour - time.Minute, []string{"leaves", "always"}},
		{time.Hour, []string{"comes", "always"}},
		{2 * time.Hour, []string{"comes", "always"}},
	} {
		h.at(noon.Add(c.after))
		assert.Equal(t, c.want, h.ranked(ask("hot", adult)), "%v", c.after)
	}
	m, err := h.ListRankedFilms(t.Context(), ask("hot", adult))
	require.NoError(t, err)
	assert.Nil(t, m.GetFilms()[0].GetCard().GetAvailableTime(), "it plays now")
}

// Every way in which a viewer can read, before and after a film is hidden.
func TestP3_HiddenFilmsVanishFromEveryKeptPage(t *testing.T) {
	hide := map[string]func(h *house){
		"take-down":   func(h *house) { h.takeDown("films/canary") },
		"closed gate": func(h *house) { h.withdraw("films/canary") },
		"delete": func(h *house) {
			h.edit("films/canary", func(f *pb.Film) { f.DeleteTime = timestamppb.New(noon) })
		},
		"market":        func(h *house) { h.edit("films/canary", func(f *pb.Film) { f.TakenDownMarkets = []string{"SG"} }) },
		"window's end":  func(h *house) { h.at(noon.Add(48 * time.Hour)) },
		"unpublish":     func(h *house) { h.edit("films/canary", func(f *pb.Film) { f.State = pb.Film_DRAFT }) },
		"other windows": func(h *house) { h.edit("films/canary", func(f *pb.Film) { f.Availability = nil }) },
	}
	for name, act := range hide {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			h.put(film("canary", window(time.Time{}, time.Time{}, noon.Add(24*time.Hour))), film("other"),
				&pb.Section{Name: "sections/mine", Source: &pb.Section_Manual{Manual: &pb.ManualSource{Films: []string{"films/other"}}}, Pins: []*pb.Pin{{Position: 1, Film: "films/canary"}}},
				&pb.Section{Name: "sections/law", Source: fromRule("content_type = DRAMA", "")},
				&pb.Layout{Name: "layouts/home", Sections: []string{"sections/mine", "sections/hot", "sections/law"}})
			h.publish(list("hot", "canary", "other"))
			require.Equal(t, 10, h.sightings("films/canary"))
			require.Equal(t, 10, h.sightings("films/canary"))
			act(h)
			assert.Zero(t, h.sightings("films/canary"))
			if name == "take-down" {
				h.reinstate("films/canary")
				assert.Equal(t, 10, h.sightings("films/canary"), "and comes back as quickly")
			}
		})
	}
}

// sightings counts in how many answers of every RPC a film's name occurs, asking as two viewers.
func (h *house) sightings(name string) int {
	n := 0
	for _, v := range []*pb.Viewer{adult, child} {
		for _, m := range h.everything(name, v) {
			if slices.Contains(mentions(m), name) {
				n++
			}
		}
	}
	return n
}

// everything asks every RPC of the service that can show films.
func (h *house) everything(name string, v *pb.Viewer) []proto.Message {
	var out []proto.Message
	add := func(m proto.Message, err error) {
		if err == nil {
			out = append(out, m)
		} else if !fault.Is(err, pb.ErrorReason_FILM_NOT_FOUND) {
			h.t.Error(err)
		}
	}
	ctx := h.t.Context()
	ranked, err := h.ListRankedFilms(ctx, ask("hot", v))
	add(ranked, err)
	home, err := h.GetHome(ctx, &pb.GetHomeRequest{Viewer: v, Page: "home"})
	add(home, err)
	section, err := h.ListSectionFilms(ctx, &pb.ListSectionFilmsRequest{Viewer: v, Parent: "sections/mine"})
	add(section, err)
	title, err := h.GetTitle(ctx, &pb.GetTitleRequest{Viewer: v, Name: name})
	add(title, err)
	cards, err := h.BatchGetCards(ctx, &pb.BatchGetCardsRequest{Viewer: v, Names: []string{"films/other", name}})
	add(cards, err)
	return out
}

// mentions gives the names of all cards in a message.
func mentions(m proto.Message) []string {
	var out []string
	switch m := m.(type) {
	case *pb.ListRankedFilmsResponse:
		out = cardNames(m.GetFilms())
	case *pb.ListSectionFilmsResponse:
		out = cardNames(m.GetFilms())
	case *pb.GetHomeResponse:
		for _, s := range m.GetSections() {
			out = append(out, cardNames(s.GetFilms())...)
		}
	case *pb.GetTitleResponse:
		out = []string{m.GetCard().GetName()}
	case *pb.BatchGetCardsResponse:
		for _, c := range m.GetCards() {
			out = append(out, c.GetName())
		}
	}
	return out
}

func cardNames(films []*pb.RankedFilm) []string {
	var out []string
	for _, f := range films {
		out = append(out, f.GetCard().GetName())
	}
	return out
}

// What is served encoded is what a plain marshalling of the same answer gives.
func TestEncodedPagesEqualPlainOnes(t *testing.T) {
	h := newHouse(t)
	all := h.stock(40, func(i int, f *pb.Film) {
		if i%4 == 0 {
			f.Ratings = []*pb.Rating{{Market: "SG", System: "IMDA", Code: "PG"}}
		}
	})
	h.publish(list("hot", all...))
	for _, v := range []*pb.Viewer{adult, child} {
		r, err := h.listRankedFilms(t.Context(), ask("hot", v))
		require.NoError(t, err)
		m, err := r.Message()
		require.NoError(t, err)
		got := m.(*pb.ListRankedFilmsResponse)
		want := &pb.ListRankedFilmsResponse{NextPageToken: got.GetNextPageToken()}
		g := h.look(v)
		l := h.Generations.Latest("charts/hot", v.GetMarket())
		want.Generation = &pb.Generation{Number: l.Number, ChartRevisionId: l.ChartRevisionID, ComputeTime: got.GetGeneration().GetComputeTime()}
		for i, id := range all[:20] {
			e := g.snap.Film("films/" + id)
			card := new(pb.FilmCard)
			require.NoError(t, proto.Unmarshal(g.card(nil, e, shelf.Playing), card))
			f := &pb.RankedFilm{Rank: int32(i + 1), Card: card}
			if v.GetAudience() == pb.Viewer_ADULT {
				f.PreviousRank, f.PeakRank, f.Score = l.Entries[i].Previous, l.Entries[i].Peak, l.Entries[i].Score
			}
			want.Films = append(want.Films, f)
		}
		require.True(t, proto.Equal(want, got))
		plain, err := proto.Marshal(want)
		require.NoError(t, err)
		require.Len(t, r.Wire(), len(plain))
	}
}

func TestJoinIsInjective(t *testing.T) {
	tags := rapid.SliceOfN(rapid.StringOfN(rapid.RuneFrom([]rune(`a,\ `)), 0, 4, -1), 0, 4)
	rapid.Check(t, func(t *rapid.T) {
		a, b := tags.Draw(t, "a"), tags.Draw(t, "b")
		same := slices.Equal(a, b) || len(a)+len(b) == 1 && join(a) == "" && join(b) == ""
		require.Equal(t, same, join(a) == join(b), "%q %q", a, b)
	})
}

func TestASecondLookCostsFewAllocations(t *testing.T) {
	h := newHouse(t)
	h.publish(list("hot", h.stock(40)...))
	req := ask("hot", adult)
	_, err := h.listRankedFilms(t.Context(), req)
	require.NoError(t, err)
	n := testing.AllocsPerRun(100, func() {
		if _, err := h.listRankedFilms(t.Context(), req); err != nil {
			t.Error(err)
		}
	})
	assert.LessOrEqual(t, n, 4.0)
}
