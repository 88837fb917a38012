package listing

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
)

func (h *house) titleOf(id string, v *pb.Viewer) (*pb.GetTitleResponse, error) {
	return h.GetTitle(h.t.Context(), &pb.GetTitleRequest{Name: "films/" + id, Viewer: v})
}

func TestATitlePage(t *testing.T) {
	h := newHouse(t)
	h.put(film("a", func(f *pb.Film) {
		f.Localizations["zh"].Synopsis = ""
		f.Credits = append(f.Credits, &pb.Credit{Role: "voice", Names: map[string]string{"fr": "Anne", "de": "Anna"}}, &pb.Credit{Role: "writer"})
	}))
	m, err := h.titleOf("a", adult)
	require.NoError(t, err)
	assert.Equal(t, "Title of a", m.GetCard().GetTitle())
	assert.Equal(t, "Synopsis of a", m.GetSynopsis())
	assert.Equal(t, "Wen Ye", m.GetCredits()[0].GetName())
	require.Len(t, m.GetCredits(), 2, "a credit without a name is none")
	assert.Equal(t, "Anna", m.GetCredits()[1].GetName(), "the first by tag where no language fits")
	assert.Len(t, m.GetMedia(), 2)
	assert.NotEmpty(t, m.GetProvenance().GetDigitalSourceType())
	assert.NotEmpty(t, m.GetDisclosure().GetText())
	assert.True(t, proto.Equal(m.GetCard().GetDisclosure(), m.GetDisclosure()))
	assert.Empty(t, m.GetRanks())

	chinese := proto.CloneOf(adult)
	chinese.Languages = []string{"zh-CN"}
	m, err = h.titleOf("a", chinese)
	require.NoError(t, err)
	assert.Equal(t, "片名a", m.GetCard().GetTitle())
	assert.Equal(t, "文野", m.GetCredits()[0].GetName())
	assert.Equal(t, "Synopsis of a", m.GetSynopsis(), "rather in another language than none")
}

func TestAComingTitleHidesTheFilmItself(t *testing.T) {
	h := newHouse(t)
	start := noon.Add(24 * time.Hour)
	h.put(film("a", window(noon.Add(-time.Hour), start, time.Time{})))
	m, err := h.titleOf("a", adult)
	require.NoError(t, err)
	require.Len(t, m.GetMedia(), 1)
	assert.Equal(t, pb.Media_TRAILER, m.GetMedia()[0].GetKind())
	assert.Equal(t, start, m.GetCard().GetAvailableTime().AsTime())
	h.at(start)
	m, err = h.titleOf("a", adult)
	require.NoError(t, err)
	assert.Len(t, m.GetMedia(), 2)
	assert.Nil(t, m.GetCard().GetAvailableTime())
}

func TestP5_HiddenIsAbsentByteForByte(t *testing.T) {
	h := newHouse(t)
	h.put(film("old", adultOnly), film("unreviewed", unreviewed), film("draft", func(f *pb.Film) { f.State = pb.Film_DRAFT }),
		film("down", func(f *pb.Film) { f.State = pb.Film_TAKEN_DOWN }), film("elsewhere", func(f *pb.Film) { f.Availability[0].Markets = []string{"US"} }),
		film("unlabelled", func(f *pb.Film) { f.Provenance = nil }))
	_, absent := h.titleOf("no-such-film", child)
	require.Error(t, absent)
	for _, id := range []string{"old", "unreviewed", "draft", "down", "elsewhere", "unlabelled", "No Film's Name", ""} {
		_, err := h.titleOf(id, child)
		assert.Equal(t, fault.As(absent), fault.As(err), id)
	}
	names := []string{"films/old", "films/absent", "films/draft", "nonsense"}
	m, err := h.BatchGetCards(t.Context(), &pb.BatchGetCardsRequest{Names: names, Viewer: child})
	require.NoError(t, err)
	assert.True(t, proto.Equal(&pb.BatchGetCardsResponse{MissingNames: names}, m))
}

func TestCardsComeInTheOrderAsked(t *testing.T) {
	h := newHouse(t)
	h.put(film("a"), film("b", adultOnly), film("c"))
	m, err := h.BatchGetCards(t.Context(), &pb.BatchGetCardsRequest{Names: []string{"films/c", "films/b", "films/x", "films/a", "films/c"}, Viewer: child})
	require.NoError(t, err)
	assert.Equal(t, []string{"films/c", "films/a", "films/c"}, mentions(m))
	assert.Equal(t, []string{"films/b", "films/x"}, m.GetMissingNames())
	for _, names := range [][]string{nil, make([]string, 101)} {
		_, err := h.BatchGetCards(t.Context(), &pb.BatchGetCardsRequest{Names: names, Viewer: child})
		assert.True(t, fault.Is(err, pb.ErrorReason_INVALID_FIELD))
	}
}

// The ranks of a title are the places the chart's own pages give.
func TestATitlesRanksAreItsPlacesInTheCharts(t *testing.T) {
	h := newHouse(t)
	all := h.stock(40, func(i int, f *pb.Film) {
		if i%3 == 1 {
			adultOnly(f)
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		h.publish(list("hot", rapid.Permutation(all).Draw(t, "hot")...), list("top-rated", rapid.Permutation(all[:20]).Draw(t, "top")...))
		for range rapid.IntRange(0, 3).Draw(t, "changes") {
			id := "films/" + rapid.SampledFrom(all).Draw(t, "film")
			switch rapid.IntRange(0, 2).Draw(t, "change") {
			case 0:
				h.takeDown(id)
			case 1:
				h.reinstate(id)
			case 2:
				h.edit(id, short)
			}
			v := rapid.SampledFrom([]*pb.Viewer{adult, child}).Draw(t, "viewer")
			want := map[string][]*pb.ChartRank{}
			for _, chart := range builtinCharts {
				for _, f := range h.chain(&pb.ListRankedFilmsRequest{Chart: chart.GetName(), Viewer: v}, always(100), nothing) {
					name := f.GetCard().GetName()
					want[name] = append(want[name], &pb.ChartRank{Chart: chart.GetName(), Rank: f.GetRank()})
				}
			}
			for _, id := range all {
				m, err := h.titleOf(id, v)
				if err != nil {
					require.Empty(t, want["films/"+id])
					continue
				}
				require.True(t, proto.Equal(&pb.GetTitleResponse{Ranks: want["films/"+id]}, &pb.GetTitleResponse{Ranks: m.GetRanks()}), "%s: %v, not %v", id, m.GetRanks(), want["films/"+id])
			}
		}
	})
}

func TestGenresAreCountedBehindTheGate(t *testing.T) {
	h := newHouse(t)
	h.put(film("a"), film("b", genre("drama", "family")), film("c", genre("family"), adultOnly), film("d", genre("family"), func(f *pb.Film) { f.State = pb.Film_DRAFT }))
	count := func(v *pb.Viewer) string {
		m, err := h.ListGenres(t.Context(), &pb.ListingServiceListGenresRequest{Viewer: v})
		require.NoError(t, err)
		text := ""
		for _, g := range m.GetGenres() {
			text += fmt.Sprintf("%s=%s:%d ", g.GetGenre(), g.GetName(), g.GetFilmCount())
		}
		return text
	}
	assert.Equal(t, "drama=Drama:2 family=Family:2 ", count(adult))
	assert.Equal(t, "drama=Drama:2 family=Family:1 ", count(child))
	chinese := proto.CloneOf(child)
	chinese.Languages = []string{"zh-Hant"}
	assert.Equal(t, "drama=剧情:2 family=Family:1 ", count(chinese))
	h.takeDown("films/b")
	assert.Eventually(t, func() bool { return count(child) == "drama=Drama:1 " }, 10*time.Second, time.Millisecond)
	h.put(&pb.Genre{Name: "genres/aaa", DisplayNames: map[string]string{"en": "First"}})
	assert.Equal(t, "drama=Drama:1 ", count(child))
}

func TestStoredChartsStandOverBuiltInOnes(t *testing.T) {
	h := newHouse(t)
	h.put(&pb.Chart{Name: "charts/hot", Kind: pb.Chart_HOT}, &pb.Chart{Name: "charts/mine", Kind: pb.Chart_NEW}, film("s", short))
	m, err := h.ListCharts(t.Context(), &pb.ListingServiceListChartsRequest{Viewer: child})
	require.NoError(t, err)
	var names []string
	for _, c := range m.GetCharts() {
		names = append(names, c.GetName())
	}
	assert.Equal(t, []string{"charts/all", "charts/hot", "charts/mine", "charts/top-rated"}, names)
	h.publish(list("hot", "s"))
	assert.Equal(t, []string{"s"}, namesOf(h.chain(ask("hot", adult), always(20), nothing)), "the stored one takes shorts")
	title, err := h.titleOf("s", adult)
	require.NoError(t, err)
	assert.Len(t, title.GetRanks(), 1)
}

// Raising the band never takes a film away, whatever the film.
func TestP5_BandsOnlyEverAdd(t *testing.T) {
	h := newHouse(t)
	random := rand.New(rand.NewPCG(1, 2))
	all := h.stock(200, func(i int, f *pb.Film) {
		f.AgeBand = pb.Film_AgeBand(random.IntN(7))
		f.MinorsReview.AgeBand = pb.Film_AgeBand(random.IntN(7))
		if random.IntN(3) == 0 {
			f.Ratings = []*pb.Rating{{Market: "SG", System: "IMDA", Code: []string{"G", "PG", "PG13", "NC16", "M18", "R21", "??"}[random.IntN(7)]}}
		}
	})
	h.publish(list("hot", all...))
	var before []string
	for band := pb.Film_ALL; band <= pb.Film_AGE_16; band++ {
		v := &pb.Viewer{Market: "SG", Audience: pb.Viewer_KIDS, AgeBand: band}
		now := namesOf(h.chain(ask("hot", v), always(7), nothing))
		assert.Subset(t, now, before)
		for _, id := range now {
			f := h.films["films/"+id]
			assert.NotZero(t, f.GetAgeBand())
			assert.LessOrEqual(t, f.GetAgeBand(), band)
			assert.NotZero(t, f.GetMinorsReview().GetAgeBand())
			assert.LessOrEqual(t, f.GetMinorsReview().GetAgeBand(), band)
		}
		before = now
	}
	assert.NotEmpty(t, before)
}
