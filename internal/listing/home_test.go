package listing

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/changes"
	"github.com/aitheater/theater/internal/fault"
)

func byHand(films ...string) *pb.Section_Manual {
	m := &pb.ManualSource{}
	for _, f := range films {
		m.Films = append(m.Films, "films/"+f)
	}
	return &pb.Section_Manual{Manual: m}
}

// shelves puts sections and a home layout that holds them.
func (h *house) shelves(unique bool, sections ...*pb.Section) {
	layout := &pb.Layout{Name: "layouts/home", UniqueFilms: unique}
	all := []named{layout}
	for _, s := range sections {
		layout.Sections = append(layout.Sections, s.GetName())
		all = append(all, s)
	}
	h.put(all...)
}

// page gives a page as "section: film film; section: …".
func (h *house) page(req *pb.GetHomeRequest) string {
	m, err := h.GetHome(h.t.Context(), req)
	require.NoError(h.t, err)
	return pageText(m.GetSections())
}

func pageText(sections []*pb.HomeSection) string {
	var out []string
	for _, s := range sections {
		out = append(out, strings.TrimPrefix(s.GetName(), "sections/")+": "+strings.Join(namesOf(s.GetFilms()), " "))
	}
	return strings.Join(out, "; ")
}

func home(v *pb.Viewer) *pb.GetHomeRequest { return &pb.GetHomeRequest{Viewer: v, Page: "home"} }

func TestBuiltInLayoutsNameBuiltInSectionsThatCompile(t *testing.T) {
	h := newHouse(t)
	used := map[string]bool{}
	for _, l := range Layouts() {
		for _, name := range l.GetSections() {
			s := h.builtin.sections[name]
			require.NotNil(t, s, name)
			used[name] = true
			if src := s.GetRule(); src != nil {
				_, err := h.rules.compile(src)
				require.NoError(t, err, name)
			}
			for _, lang := range []string{"en", "zh"} {
				assert.NotEmpty(t, s.GetTitle()[lang], name)
			}
		}
	}
	assert.Len(t, used, len(Sections()), "every section stands in a layout")
}

func TestBuiltInPages(t *testing.T) {
	h := newHouse(t)
	h.put(film("a"), film("b", adultOnly, content(pb.Film_ANIMATION)), film("c", content(pb.Film_ANIMATION)), film("s", short))
	h.publish(list("hot", "b", "a", "c"), list("top-rated", "c"))
	assert.Equal(t, "hot: b a c; top-rated: c; animation: b c; drama: a; shorts: s", h.page(home(adult)))
	assert.Equal(t, "hot: a c; top-rated: c; animation: c; drama: a; shorts: s", h.page(home(child)))
	kids := "kids-hot: a c; kids-little: a c; kids-animation: c; kids-new: a c; kids-shorts: s"
	assert.Equal(t, kids, h.page(&pb.GetHomeRequest{Viewer: child}), "a child begins on the page for children")
	assert.Equal(t, h.page(home(adult)), h.page(&pb.GetHomeRequest{Viewer: adult}))
	assert.NotContains(t, h.page(&pb.GetHomeRequest{Viewer: adult, Page: "kids"}), "b", "nothing uncleared, whoever looks")

	m, err := h.GetHome(t.Context(), &pb.GetHomeRequest{Viewer: adult, Page: "none-such"})
	require.NoError(t, err)
	assert.Empty(t, m.GetSections())
	assert.Equal(t, h.revision, m.GetRevision())

	chinese := proto.CloneOf(adult)
	chinese.Languages = []string{"zh-Hans-CN"}
	m, err = h.GetHome(t.Context(), home(chinese))
	require.NoError(t, err)
	assert.Equal(t, "正在热播", m.GetSections()[0].GetTitle())
	assert.Equal(t, "片名b", m.GetSections()[0].GetFilms()[0].GetCard().GetTitle())
	assert.EqualValues(t, 1, m.GetSections()[0].GetFilms()[0].GetRank())
	assert.Zero(t, m.GetSections()[2].GetFilms()[0].GetRank(), "no rank outside charts")
	assert.Equal(t, h.Generations.Latest("charts/hot", "SG").Number, m.GetSections()[0].GetGeneration().GetNumber())
}

func TestSections(t *testing.T) {
	h := newHouse(t)
	h.put(film("a"), film("b"), film("c", genre("family")), film("d", adultOnly), film("e"), film("s", short), film("x", func(f *pb.Film) { f.State = pb.Film_DRAFT }))
	h.publish(list("hot", "e", "d", "c", "b", "a"), list("all", "s", "a"))
	pin := func(at int32, film string) *pb.Pin { return &pb.Pin{Position: at, Film: "films/" + film} }
	soon, past := timestamppb.New(noon.Add(time.Hour)), timestamppb.New(noon.Add(-time.Hour))
	for _, c := range []struct {
		name    string
		section *pb.Section
		v       *pb.Viewer
		want    string
		dropped string
	}{
		{"by hand", &pb.Section{Source: byHand("c", "a", "b")}, adult, "c a b", ""},
		{"hidden from a child", &pb.Section{Source: byHand("d", "a")}, child, "a", ""},
		{"drafts and strangers", &pb.Section{Source: byHand("x", "nowhere", "a")}, adult, "a", ""},
		{"features unless it says otherwise", &pb.Section{Source: byHand("s", "a")}, adult, "a", ""},
		{"shorts too", &pb.Section{Source: byHand("s", "a"), MinForm: pb.Film_SHORT}, adult, "s a", ""},
		{"chart", &pb.Section{Source: fromChart("hot")}, adult, "e d c b a", ""},
		{"chart of shorts", &pb.Section{Source: fromChart("all"), MinForm: pb.Film_SHORT}, adult, "s a", ""},
		{"chart and genre", &pb.Section{Source: &pb.Section_Chart{Chart: &pb.ChartSource{Chart: "charts/hot", Genre: "family"}}}, adult, "c", ""},
		{"rule", &pb.Section{Source: fromRule(`genres:"drama"`, "title desc")}, adult, "e d b a", ""},
		{"limit", &pb.Section{Source: byHand("a", "b", "c"), Limit: 2}, adult, "a b", ""},
		{"hidden films", &pb.Section{Source: byHand("a", "b", "c"), HiddenFilms: []string{"films/b"}}, adult, "a c", ""},
		{"pins", &pb.Section{Source: byHand("a", "b", "c"), Pins: []*pb.Pin{pin(2, "e"), pin(1, "c")}}, adult, "c e a b", ""},
		{"pins past the end close up", &pb.Section{Source: byHand("a"), Pins: []*pb.Pin{pin(9, "c"), pin(5, "b")}}, adult, "a b c", ""},
		{"pins only", &pb.Section{Pins: []*pb.Pin{pin(3, "c")}}, adult, "c", ""},
		{"pin windows", &pb.Section{Source: byHand("a"), Pins: []*pb.Pin{
			{Position: 1, Film: "films/b", StartTime: soon}, {Position: 1, Film: "films/c", EndTime: past}, {Position: 1, Film: "films/e", StartTime: past, EndTime: soon}}}, adult, "e a", ""},
		{"dropped pins", &pb.Section{Source: byHand("a", "b"), Limit: 5, HiddenFilms: []string{"films/c"}, Pins: []*pb.Pin{
			pin(1, "nowhere"), pin(2, "e"), pin(3, "s"), pin(4, "d"), pin(5, "c"), pin(6, "b"), pin(5, "e"), pin(1, "a")}}, child, "a e b",
			"nowhere film-missing, s short, d not-visible, c hidden, b past-limit, e duplicate, a collision"},
		{"market", &pb.Section{Source: byHand("a"), Targeting: &pb.Targeting{Markets: []string{"US"}}}, adult, "", ""},
		{"audience", &pb.Section{Source: byHand("a"), Targeting: &pb.Targeting{Audiences: []pb.Viewer_Audience{pb.Viewer_KIDS}}}, adult, "", ""},
		{"band", &pb.Section{Source: byHand("a"), Targeting: &pb.Targeting{AgeBands: []pb.Film_AgeBand{pb.Film_AGE_3}}}, child, "", ""},
		{"band, adults pass", &pb.Section{Source: byHand("a"), Targeting: &pb.Targeting{AgeBands: []pb.Film_AgeBand{pb.Film_AGE_3}}}, adult, "a", ""},
		{"not yet", &pb.Section{Source: byHand("a"), StartTime: soon}, adult, "", ""},
		{"no more", &pb.Section{Source: byHand("a"), EndTime: past}, adult, "", ""},
		{"now", &pb.Section{Source: byHand("a"), StartTime: past, EndTime: soon}, adult, "a", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.section.Name = "sections/mine"
			h.shelves(false, c.section)
			want := ""
			if c.want != "" {
				want = "mine: " + c.want
			}
			assert.Equal(t, want, h.page(home(c.v)))
			assert.Equal(t, want, h.page(home(c.v)), "kept")

			preview, err := h.ComposeHome(h.shelf.Current(), h.Generations.Latest, c.v, "home", h.clock.Now(), 0, 0)
			require.NoError(t, err)
			assert.Equal(t, want, pageText(preview.GetSections()), "preview")
			var dropped []string
			for _, d := range preview.GetDroppedPins() {
				dropped = append(dropped, strings.TrimPrefix(d.GetFilm(), "films/")+" "+d.GetReason())
			}
			assert.Equal(t, c.dropped, strings.Join(dropped, ", "))

			for _, size := range []int32{1, 2, 3} {
				assert.Equal(t, strings.Fields(c.want), h.sectionChain(c.v, size, nothing), "pages of %d", size)
			}
		})
	}
}

// sectionChain reads sections/mine to its end; a section that is not for the viewer is empty.
func (h *house) sectionChain(v *pb.Viewer, size int32, between func()) []string {
	all := []string{}
	req := &pb.ListSectionFilmsRequest{Parent: "sections/mine", Viewer: v, PageSize: size}
	for {
		m, err := h.ListSectionFilms(h.t.Context(), req)
		if fault.Is(err, pb.ErrorReason_RESOURCE_NOT_FOUND) {
			return all
		}
		require.NoError(h.t, err)
		for i, f := range m.GetFilms() {
			if m.GetGeneration() != nil {
				require.EqualValues(h.t, len(all)+i+1, f.GetRank())
			}
		}
		all = append(all, namesOf(m.GetFilms())...)
		if req.PageToken = m.GetNextPageToken(); req.PageToken == "" {
			return all
		}
		between()
	}
}

func TestAPageWithUniqueFilmsShowsNoneTwice(t *testing.T) {
	h := newHouse(t)
	h.put(film("a"), film("b"), film("c"), film("d"))
	one := &pb.Section{Name: "sections/one", Source: byHand("a", "b", "c")}
	two := &pb.Section{Name: "sections/two", Source: byHand("a", "b", "c", "d"), Pins: []*pb.Pin{{Position: 1, Film: "films/c"}}}
	h.shelves(false, one, two)
	assert.Equal(t, "one: a b c; two: c a b d", h.page(home(adult)))
	h.shelves(true, one, two)
	assert.Equal(t, "one: a b c; two: d", h.page(home(adult)))
	req := home(adult)
	req.CardsPerSection = 1
	assert.Equal(t, "one: a; two: c", h.page(req), "only what is shown is taken")
}

func TestSectionLimitCountsShownSections(t *testing.T) {
	h := newHouse(t)
	h.put(film("a"))
	h.shelves(false, &pb.Section{Name: "sections/empty"}, &pb.Section{Name: "sections/one", Source: byHand("a")},
		&pb.Section{Name: "sections/two", Source: byHand("a")})
	req := home(adult)
	req.SectionLimit = 1
	assert.Equal(t, "one: a", h.page(req))
	for _, bad := range []*pb.GetHomeRequest{{Viewer: adult, SectionLimit: -1}, {Viewer: adult, CardsPerSection: -1}, {}} {
		_, err := h.GetHome(t.Context(), bad)
		assert.True(t, fault.Is(err, pb.ErrorReason_INVALID_FIELD), "%v", err)
	}
}

func TestASectionGoesOnWhereTheHomePageEnded(t *testing.T) {
	h := newHouse(t)
	all := h.stock(30)
	h.publish(list("hot", all...))
	h.shelves(false, &pb.Section{Name: "sections/mine", Source: fromChart("hot"), Pins: []*pb.Pin{{Position: 2, Film: "films/f0029"}, {Position: 25, Film: "films/f0000"}}})
	req := home(adult)
	req.CardsPerSection = 5
	m, err := h.GetHome(t.Context(), req)
	require.NoError(t, err)
	got := namesOf(m.GetSections()[0].GetFilms())
	next, err := h.ListSectionFilms(t.Context(), &pb.ListSectionFilmsRequest{Parent: "sections/mine", Viewer: adult, PageSize: 100, PageToken: m.GetSections()[0].GetNextPageToken()})
	require.NoError(t, err)
	got = append(got, namesOf(next.GetFilms())...)
	assert.Equal(t, h.sectionChain(adult, 100, nothing), got)
	assert.Equal(t, "f0029", got[1])
	assert.Equal(t, "f0000", got[24])
}

func TestP8_SectionsHoldStill(t *testing.T) {
	h := newHouse(t)
	all := h.stock(40, func(i int, f *pb.Film) { f.Tags = []string{"in"} })
	sources := []*pb.Section{
		{Source: fromChart("hot")},
		{Source: fromRule(`tags:"in"`, "title")},
		{Source: byHand(all...)},
	}
	rapid.Check(t, func(t *rapid.T) {
		h.publish(list("hot", rapid.Permutation(all).Draw(t, "order")...))
		sec := proto.CloneOf(rapid.SampledFrom(sources).Draw(t, "source"))
		sec.Name = "sections/mine"
		for _, id := range rapid.SliceOfNDistinct(rapid.SampledFrom(all), 0, 5, rapid.ID).Draw(t, "pins") {
			sec.Pins = append(sec.Pins, &pb.Pin{Position: rapid.Int32Range(1, 50).Draw(t, "place"), Film: "films/" + id})
		}
		h.shelves(false, sec)
		before := h.sectionChain(adult, 100, nothing)
		require.ElementsMatch(t, all, before)
		down := map[string]bool{}
		defer func() {
			for id := range down {
				h.reinstate("films/" + id)
			}
		}()
		got := h.sectionChain(adult, rapid.Int32Range(4, 20).Draw(t, "size"), func() {
			switch rapid.IntRange(0, 3).Draw(t, "meanwhile") {
			case 0:
				h.publish(list("hot", rapid.Permutation(all).Draw(t, "recomputed")...))
			case 1:
				id := rapid.SampledFrom(all).Draw(t, "down")
				down[id] = true
				h.takeDown("films/" + id)
			case 2:
				h.put(film(fmt.Sprintf("new%d", h.revision), func(f *pb.Film) {
					f.Tags = []string{"in"}
					f.Localizations["en"].Title = "A"
					f.State = pb.Film_DRAFT
				}))
			}
		})
		seen := map[string]bool{}
		for _, id := range got {
			require.False(t, seen[id], "%s twice", id)
			seen[id] = true
		}
		for _, id := range before {
			require.True(t, seen[id] || down[id], "%s is missing and was not taken down", id)
		}
	})
}

func TestAHomePageIsKeptAndSaysTheNewestRevision(t *testing.T) {
	h := newHouse(t)
	h.put(film("a"), film("b"), film("far"))
	h.publish(list("hot", "a", "b"))
	h.shelves(false, &pb.Section{Name: "sections/mine", Source: fromChart("hot")})
	get := func() *pb.GetHomeResponse {
		m, err := h.GetHome(t.Context(), home(adult))
		require.NoError(t, err)
		return m
	}
	first := get()
	require.Equal(t, h.revision, first.GetRevision())
	require.EqualValues(t, 0, h.made(func() { get() }))
	h.edit("films/far", func(f *pb.Film) { f.Tags = []string{"x"} })
	assert.Zero(t, h.made(func() {
		second := get()
		assert.Equal(t, h.revision, second.GetRevision())
		second.Revision = first.GetRevision()
		assert.True(t, proto.Equal(first, second))
	}))
	h.edit("films/a", func(f *pb.Film) { f.Localizations["en"].Title = "Another" })
	assert.Equal(t, "Another", get().GetSections()[0].GetFilms()[0].GetCard().GetTitle())
	h.put(&pb.Section{Name: "sections/mine", Source: fromChart("hot"), HiddenFilms: []string{"films/a"}})
	assert.Equal(t, "mine: b", h.page(home(adult)), "the editor's next read sees it")
}

func TestARuleSectionTakesAFilmAsSoonAsItMatches(t *testing.T) {
	h := newHouse(t)
	h.put(film("a"))
	h.shelves(false, &pb.Section{Name: "sections/mine", Source: fromRule(`tags:"in"`, "")})
	assert.Empty(t, h.page(home(adult)))
	h.edit("films/a", func(f *pb.Film) { f.Tags = []string{"in"} })
	require.Eventually(t, func() bool { return h.page(home(adult)) == "mine: a" }, 10*time.Second, time.Millisecond)
	h.edit("films/a", func(f *pb.Film) { f.Tags = nil })
	assert.Empty(t, h.page(home(adult)), "and lets it go at once")
}

func TestSectionWindowsOpenAndCloseKeptPages(t *testing.T) {
	h := newHouse(t)
	h.put(film("a"), film("b"))
	h.shelves(false,
		&pb.Section{Name: "sections/later", Source: byHand("a"), StartTime: timestamppb.New(noon.Add(time.Hour))},
		&pb.Section{Name: "sections/until", Source: byHand("a"), EndTime: timestamppb.New(noon.Add(2 * time.Hour)),
			Pins: []*pb.Pin{{Position: 1, Film: "films/b", StartTime: timestamppb.New(noon.Add(30 * time.Minute)), EndTime: timestamppb.New(noon.Add(90 * time.Minute))}}})
	for _, c := range []struct {
		after time.Duration
		want  string
	}{
		{0, "until: a"}, {30 * time.Minute, "until: b a"}, {time.Hour, "later: a; until: b a"}, {90 * time.Minute, "later: a; until: a"}, {2 * time.Hour, "later: a"},
	} {
		h.at(noon.Add(c.after))
		assert.Equal(t, c.want, h.page(home(adult)), "%v", c.after)
	}
}

// What is previewed for a time is what is served at that time.
func TestAPreviewIsWhatWillBeServed(t *testing.T) {
	h := newHouse(t)
	all := h.stock(30, func(i int, f *pb.Film) {
		start := noon.Add(time.Duration(i-15) * time.Hour)
		window(start.Add(-2*time.Hour), start, start.Add(20*time.Hour))(f)
		if i%5 == 0 {
			adultOnly(f)
		}
	})
	h.publish(list("hot", all...))
	h.shelves(true, &pb.Section{Name: "sections/one", Source: fromRule("content_type = DRAMA", "title desc"), Limit: 4},
		&pb.Section{Name: "sections/two", Source: fromChart("hot"), Pins: []*pb.Pin{{Position: 1, Film: "films/f0020", StartTime: timestamppb.New(noon.Add(3 * time.Hour))}}})
	snap := h.shelf.Current()
	for _, v := range []*pb.Viewer{adult, child} {
		for i := range 24 {
			at := noon.Add(time.Duration(i) * 50 * time.Minute)
			preview, err := h.ComposeHome(snap, h.Generations.Latest, v, "home", at, 0, 0)
			require.NoError(t, err)
			h.at(at)
			served, err := New(h.Config).GetHome(t.Context(), home(v))
			require.NoError(t, err)
			for _, s := range served.GetSections() {
				s.NextPageToken = ""
			}
			require.True(t, proto.Equal(&pb.GetHomeResponse{Sections: preview.GetSections(), Revision: preview.GetRevision()}, served), "%v", at)
		}
	}
}

func TestAPreviewOverAnOverlayChangesNothingForViewers(t *testing.T) {
	h := newHouse(t)
	h.put(film("a"), film("draft", func(f *pb.Film) { f.State = pb.Film_DRAFT }))
	h.shelves(false, &pb.Section{Name: "sections/mine", Source: byHand("a")})
	published := proto.CloneOf(h.films["films/draft"])
	published.State = pb.Film_PUBLISHED
	var overlay []changes.Resource
	for _, m := range []named{published, &pb.Section{Name: "sections/mine", Source: byHand("draft", "a")}} {
		body, err := proto.Marshal(m)
		require.NoError(t, err)
		overlay = append(overlay, changes.Resource{Name: m.GetName(), Body: body})
	}

	snap := h.shelf.Current().With(h.revision+1, overlay)
	preview, err := h.ComposeHome(snap, h.Generations.Latest, adult, "home", noon, 0, 0)
	require.NoError(t, err)
	assert.Equal(t, "mine: draft a", pageText(preview.GetSections()))
	assert.Equal(t, "mine: a", h.page(home(adult)))
	_, err = h.GetTitle(t.Context(), &pb.GetTitleRequest{Name: "films/draft", Viewer: adult})
	assert.True(t, fault.Is(err, pb.ErrorReason_FILM_NOT_FOUND))
}
