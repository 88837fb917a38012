package listing

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/generations"
)

func ask(chart string, v *pb.Viewer) *pb.ListRankedFilmsRequest {
	return &pb.ListRankedFilmsRequest{Chart: "charts/" + chart, Viewer: v}
}

func always(n int32) func() int32 { return func() int32 { return n } }

func nothing() {}

func TestAChartIsFilteredOverTheRawList(t *testing.T) {
	h := newHouse(t)
	h.put(film("a"), film("b", content(pb.Film_ANIMATION)), film("c", genre("family")), film("d", adultOnly),
		film("e", short), film("f", genre("drama", "family"), content(pb.Film_ANIMATION)), film("g", func(f *pb.Film) { f.State = pb.Film_DRAFT }))
	order := []string{"g", "f", "e", "d", "c", "b", "a", "nowhere"}
	h.publish(list("hot", order...), list("all", order...))
	for _, c := range []struct {
		name string
		req  *pb.ListRankedFilmsRequest
		want string
	}{
		{"adult", ask("hot", adult), "f d c b a"},
		{"child", ask("hot", child), "f c b a"},
		{"shorts too where the chart takes them", ask("all", adult), "f e d c b a"},
		{"genre", &pb.ListRankedFilmsRequest{Chart: "charts/hot", Viewer: adult, Genre: "family"}, "f c"},
		{"content type", &pb.ListRankedFilmsRequest{Chart: "charts/hot", Viewer: adult, ContentType: pb.Film_ANIMATION}, "f b"},
		{"both", &pb.ListRankedFilmsRequest{Chart: "charts/hot", Viewer: adult, ContentType: pb.Film_ANIMATION, Genre: "family"}, "f"},
		{"an empty genre", &pb.ListRankedFilmsRequest{Chart: "charts/hot", Viewer: adult, Genre: "empty"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, size := range []int32{0, 1, 2, 3, 100} {
				got := h.chain(c.req, always(size), nothing)
				assert.Equal(t, strings.Fields(c.want), namesOf(got), "page size %d", size)
				for i, f := range got {
					assert.EqualValues(t, i+1, f.GetRank())
				}
			}
		})
	}
}

// P8: of a chart of more films than its list holds, a filtered list is the chart's up to a place and
// ends there: no film is missing in the middle, whatever else it was taken in for.
func TestP8_FilteredListsHaveNoGaps(t *testing.T) {
	const films, whole = 3000, 300
	h := newHouse(t)
	kinds := []pb.Film_ContentType{pb.Film_DRAMA, pb.Film_ANIMATION, pb.Film_FILM}
	order := h.stock(films, func(i int, f *pb.Film) {
		f.ContentType = kinds[i*7%11%3]
		f.Genres = [][]string{{"drama"}, {"family"}, {"drama", "family"}}[i*5%13%3]
		if i%4 != 0 {
			adultOnly(f)
		}
	})
	// What a ranker takes in that has room for so many.
	l, has := list("hot", order[:whole]...), map[any]int{}
	for i, id := range order {
		f, lacking := h.films["films/"+id], i < whole
		causes := []any{f.GetContentType()}
		for _, g := range f.GetGenres() {
			causes = append(causes, g)
		}
		if f.GetMinorsReview() != nil {
			causes = append(causes, "child")
		}
		for _, c := range causes {
			lacking = lacking || has[c] < generations.Fill
		}
		if !lacking {
			continue
		}
		for _, c := range causes {
			has[c]++
		}
		if i >= whole {
			l.Entries = append(l.Entries, generations.Entry{Film: "films/" + id, Score: float64(films - i)})
		}
	}
	require.Less(t, len(l.Entries), films*3/4)
	h.publish(l)
	for _, v := range []*pb.Viewer{adult, child} {
		for _, genre := range []string{"", "drama", "family"} {
			for _, kind := range append([]pb.Film_ContentType{pb.Film_CONTENT_TYPE_UNSPECIFIED}, kinds...) {
				var want []string
				for _, id := range order {
					f := h.films["films/"+id]
					if (genre == "" || slices.Contains(f.GetGenres(), genre)) && (kind == 0 || f.GetContentType() == kind) && (v == adult || f.GetMinorsReview() != nil) {
						want = append(want, id)
					}
				}
				got := namesOf(h.chain(&pb.ListRankedFilmsRequest{Chart: "charts/hot", Viewer: v, Genre: genre, ContentType: kind}, always(100), nothing))
				require.Equal(t, want[:len(got)], got, "%s %s %s", v.GetAudience(), genre, kind)
				assert.NotEmpty(t, got)
				if (v == child) != (genre != "") && kind == 0 {
					assert.GreaterOrEqual(t, len(got), generations.Fill, "%s %s", v.GetAudience(), genre)
				}
			}
		}
	}
}

func TestPlacesAndScoresAreForAdultsWithoutFilters(t *testing.T) {
	h := newHouse(t)
	h.put(film("a"), film("b"))
	h.publish(list("hot", "a", "b"))
	m, err := h.ListRankedFilms(t.Context(), ask("hot", adult))
	require.NoError(t, err)
	assert.EqualValues(t, 3, m.GetFilms()[1].GetPreviousRank())
	assert.EqualValues(t, 1, m.GetFilms()[1].GetPeakRank())
	assert.Equal(t, 999.0, m.GetFilms()[1].GetScore())
	assert.Equal(t, "r1", m.GetGeneration().GetChartRevisionId())
	assert.Equal(t, noon, m.GetGeneration().GetComputeTime().AsTime())
	assert.Positive(t, m.GetGeneration().GetNumber())
	for name, req := range map[string]*pb.ListRankedFilmsRequest{
		"child":        ask("hot", child),
		"genre":        {Chart: "charts/hot", Viewer: adult, Genre: "drama"},
		"content type": {Chart: "charts/hot", Viewer: adult, ContentType: pb.Film_DRAMA},
	} {
		m, err := h.ListRankedFilms(t.Context(), req)
		require.NoError(t, err)
		require.Len(t, m.GetFilms(), 2, name)
		for _, f := range m.GetFilms() {
			assert.Zero(t, f.GetPreviousRank(), name)
			assert.Zero(t, f.GetPeakRank(), name)
			assert.Zero(t, f.GetScore(), name)
		}
	}
}

func TestTheHeadBoundsThePlainListOnly(t *testing.T) {
	h := newHouse(t)
	all := h.stock(10, func(i int, f *pb.Film) {
		if i < 5 {
			adultOnly(f)
		}
	})
	l := list("hot", all...)
	l.Head = 5
	h.publish(l)
	assert.Len(t, h.chain(ask("hot", adult), always(2), nothing), 5)
	assert.Equal(t, all[5:], namesOf(h.chain(ask("hot", child), always(2), nothing)))
	assert.Len(t, h.chain(&pb.ListRankedFilmsRequest{Chart: "charts/hot", Viewer: adult, Genre: "drama"}, always(3), nothing), 10)
}

func TestRefusals(t *testing.T) {
	h := newHouse(t)
	h.put(film("a"), film("b"))
	h.publish(list("hot", "a", "b"))
	first, err := h.ListRankedFilms(t.Context(), &pb.ListRankedFilmsRequest{Chart: "charts/hot", Viewer: adult, PageSize: 1})
	require.NoError(t, err)
	token := first.GetNextPageToken()
	require.NotEmpty(t, token)
	german := proto.CloneOf(adult)
	german.Languages = []string{"de"}
	for _, c := range []struct {
		name   string
		req    *pb.ListRankedFilmsRequest
		reason pb.ErrorReason
		kind   fault.Kind
	}{
		{"unknown chart", ask("no-such", adult), pb.ErrorReason_RESOURCE_NOT_FOUND, fault.NotFound},
		{"no chart", &pb.ListRankedFilmsRequest{Viewer: adult}, pb.ErrorReason_INVALID_FIELD, fault.InvalidArgument},
		{"a chart's name that is none", &pb.ListRankedFilmsRequest{Chart: "charts/\x00", Viewer: adult}, pb.ErrorReason_INVALID_FIELD, fault.InvalidArgument},
		{"unknown genre", &pb.ListRankedFilmsRequest{Chart: "charts/hot", Viewer: adult, Genre: "nope"}, pb.ErrorReason_INVALID_FIELD, fault.InvalidArgument},
		{"unknown content type", &pb.ListRankedFilmsRequest{Chart: "charts/hot", Viewer: adult, ContentType: 99}, pb.ErrorReason_INVALID_FIELD, fault.InvalidArgument},
		{"negative size", &pb.ListRankedFilmsRequest{Chart: "charts/hot", Viewer: adult, PageSize: -1}, pb.ErrorReason_INVALID_FIELD, fault.InvalidArgument},
		{"no viewer", &pb.ListRankedFilmsRequest{Chart: "charts/hot"}, pb.ErrorReason_INVALID_FIELD, fault.InvalidArgument},
		{"another chart's token", &pb.ListRankedFilmsRequest{Chart: "charts/all", Viewer: adult, PageToken: token}, pb.ErrorReason_INVALID_PAGE_TOKEN, fault.InvalidArgument},
		{"an adult's token for a child", &pb.ListRankedFilmsRequest{Chart: "charts/hot", Viewer: child, PageToken: token}, pb.ErrorReason_INVALID_PAGE_TOKEN, fault.InvalidArgument},
		{"another language", &pb.ListRankedFilmsRequest{Chart: "charts/hot", Viewer: german, PageToken: token}, pb.ErrorReason_INVALID_PAGE_TOKEN, fault.InvalidArgument},
		{"a filter more", &pb.ListRankedFilmsRequest{Chart: "charts/hot", Viewer: adult, Genre: "drama", PageToken: token}, pb.ErrorReason_INVALID_PAGE_TOKEN, fault.InvalidArgument},
		{"an altered token", &pb.ListRankedFilmsRequest{Chart: "charts/hot", Viewer: adult, PageToken: token + "A"}, pb.ErrorReason_INVALID_PAGE_TOKEN, fault.InvalidArgument},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := h.ListRankedFilms(t.Context(), c.req)
			require.Error(t, err)
			f := fault.As(err)
			require.NotNil(t, f, err)
			assert.Equal(t, c.reason, f.Reason)
			assert.Equal(t, c.kind, f.Kind)
		})
	}
	_, err = h.ListSectionFilms(t.Context(), &pb.ListSectionFilmsRequest{Parent: "sections/hot", Viewer: adult, PageToken: token})
	assert.True(t, fault.Is(err, pb.ErrorReason_INVALID_PAGE_TOKEN), "another method's token: %v", err)
}

func TestClaimsWinOverTheRequestAndItsTokens(t *testing.T) {
	h := newHouse(t)
	h.put(film("a"), film("b", adultOnly), film("c"))
	h.publish(list("hot", "b", "a", "c"))
	kid := auth.WithCaller(t.Context(), &auth.Caller{Audience: pb.Viewer_KIDS, AgeBand: pb.Film_AGE_3})
	m, err := h.ListRankedFilms(kid, &pb.ListRankedFilmsRequest{Chart: "charts/hot", Viewer: adult, PageSize: 1})
	require.NoError(t, err)
	assert.Equal(t, []string{"a"}, namesOf(m.GetFilms()))
	_, err = h.ListRankedFilms(t.Context(), &pb.ListRankedFilmsRequest{Chart: "charts/hot", Viewer: adult, PageToken: m.GetNextPageToken()})
	assert.True(t, fault.Is(err, pb.ErrorReason_INVALID_PAGE_TOKEN))
	m, err = h.ListRankedFilms(t.Context(), &pb.ListRankedFilmsRequest{Chart: "charts/hot", Viewer: &pb.Viewer{Market: "SG"}})
	require.NoError(t, err)
	assert.Equal(t, []string{"a", "c"}, namesOf(m.GetFilms()), "an unset audience is a child")
}

// A token's length must not say how much was hidden between two films.
func TestP5_TokensAreAllOfOneLength(t *testing.T) {
	h := newHouse(t)
	all := h.stock(400, func(i int, f *pb.Film) {
		if i%50 != 0 {
			adultOnly(f)
		}
	})
	h.publish(list("hot", all...))
	lengths := map[int]bool{}
	req := &pb.ListRankedFilmsRequest{Chart: "charts/hot", Viewer: child, PageSize: 1}
	for {
		m, err := h.ListRankedFilms(t.Context(), req)
		require.NoError(t, err)
		if req.PageToken = m.GetNextPageToken(); req.PageToken == "" {
			break
		}
		lengths[len(req.PageToken)] = true
	}
	assert.Len(t, lengths, 1)
}

func TestP8_ChainsHoldStill(t *testing.T) {
	h := newHouse(t)
	all := h.stock(120, func(i int, f *pb.Film) {
		if i%7 == 3 {
			adultOnly(f)
		}
		if i%3 == 0 {
			f.Genres = []string{"family"}
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		order := rapid.Permutation(all).Draw(t, "order")
		h.publish(list("hot", order...))
		req := ask("hot", rapid.SampledFrom([]*pb.Viewer{adult, child}).Draw(t, "viewer"))
		if rapid.Bool().Draw(t, "filtered") {
			req.Genre = "family"
		}
		before := namesOf(h.chain(req, always(100), nothing))
		down := map[string]bool{}
		defer func() {
			for id := range down {
				h.reinstate("films/" + id)
			}
		}()
		got := h.chain(req,
			func() int32 { return rapid.Int32Range(3, 40).Draw(t, "size") },
			func() {
				switch rapid.IntRange(0, 4).Draw(t, "meanwhile") {
				case 0:
					h.publish(list("hot", rapid.Permutation(all).Draw(t, "recomputed")...))
				case 1:
					id := rapid.SampledFrom(all).Draw(t, "down")
					down[id] = true
					h.takeDown("films/" + id)
				case 2:
					h.put(&pb.Release{Name: "releases/any"})
				}
			})
		names := namesOf(got)
		seen := map[string]bool{}
		for i, f := range got {
			require.EqualValues(t, i+1, f.GetRank(), "ranks are dense")
			require.False(t, seen[names[i]], "%s twice", names[i])
			seen[names[i]] = true
		}
		at := 0
		for _, id := range before {
			if at < len(names) && names[at] == id {
				at++
				continue
			}
			require.True(t, down[id], "%s is missing and was not taken down", id)
		}
		require.Equal(t, len(names), at, "a film that was not in the list, or another order")
	})
}

func TestP8_AChainGoesOnOnAnotherReplicaAndEndsWithItsGeneration(t *testing.T) {
	h := newHouse(t)
	all := h.stock(50)
	h.publish(list("hot", all...))
	m, err := h.ListRankedFilms(t.Context(), ask("hot", adult))
	require.NoError(t, err)
	req := ask("hot", adult)
	req.PageToken = m.GetNextPageToken()

	other := New(h.Config)
	n, err := other.ListRankedFilms(t.Context(), req)
	require.NoError(t, err)
	assert.Equal(t, all[20:40], namesOf(n.GetFilms()))

	c := cursor{number: 1 << 40, pos: 20, given: 20}
	v, err := auth.Narrow(auth.CallerFrom(t.Context()), adult)
	require.NoError(t, err)
	bound, err := bind(req, v)
	require.NoError(t, err)
	req.PageToken = h.seal(rankedMethod, c, bound)
	_, err = h.ListRankedFilms(t.Context(), req)
	assert.True(t, fault.Is(err, pb.ErrorReason_SNAPSHOT_EXPIRED), "%v", err)
}

func TestAChartWithoutAListIsEmpty(t *testing.T) {
	h := newHouse(t)
	h.put(film("a"), &pb.Chart{Name: "charts/mine", Kind: pb.Chart_HOT})
	m, err := h.ListRankedFilms(t.Context(), ask("mine", adult))
	require.NoError(t, err)
	assert.Empty(t, m.GetFilms())
	assert.Nil(t, m.GetGeneration())
	h.publish(list("mine", "a"))
	m, err = h.ListRankedFilms(t.Context(), ask("mine", adult))
	require.NoError(t, err)
	assert.Equal(t, []string{"a"}, namesOf(m.GetFilms()), "the first list is shown at once")
}

func TestAMarketsOwnListIsTakenBeforeTheWorlds(t *testing.T) {
	h := newHouse(t)
	h.put(film("a"), film("b"))
	own := list("hot", "b", "a")
	own.Market = "SG"
	h.publish(list("hot", "a", "b"), own)
	us := proto.CloneOf(adult)
	us.Market = "US"
	for _, c := range []struct {
		v    *pb.Viewer
		want string
	}{{adult, "b a"}, {us, "a b"}} {
		assert.Equal(t, strings.Fields(c.want), namesOf(h.chain(ask("hot", c.v), always(1), nothing)))
	}
}

// Films that come to the shelf after their list, as on a replica that is behind, are found.
func TestAListMayBeAheadOfTheShelf(t *testing.T) {
	h := newHouse(t)
	h.put(film("a"))
	h.publish(list("hot", "late", "a"))
	assert.Equal(t, []string{"a"}, namesOf(h.chain(ask("hot", adult), always(20), nothing)))
	h.withdraw("films/late") // gives it a slot before it is there
	h.revision++
	assert.Equal(t, []string{"a"}, namesOf(h.chain(ask("hot", adult), always(20), nothing)))
	h.put(film("late"))
	assert.Equal(t, []string{"late", "a"}, namesOf(h.chain(ask("hot", adult), always(20), nothing)))
}

func FuzzPageToken(f *testing.F) {
	h := newHouse(f)
	all := h.stock(30)
	h.publish(list("hot", all...))
	m, err := h.ListRankedFilms(f.Context(), &pb.ListRankedFilmsRequest{Chart: "charts/hot", Viewer: adult, PageSize: 10})
	require.NoError(f, err)
	f.Add(m.GetNextPageToken())
	f.Add("")
	f.Add("AAAA")
	f.Fuzz(func(t *testing.T, token string) {
		n, err := h.ListRankedFilms(t.Context(), &pb.ListRankedFilmsRequest{Chart: "charts/hot", Viewer: adult, PageSize: 10, PageToken: token})
		switch {
		case token == "":
			require.NoError(t, err)
		case err == nil: // sealed here, or by the other process of this run, which has the same keys
			require.Equal(t, all[10:20], namesOf(n.GetFilms()))
		default:
			require.NotEqual(t, m.GetNextPageToken(), token)
			require.True(t, fault.Is(err, pb.ErrorReason_INVALID_PAGE_TOKEN), "%v", err)
		}
	})
}

func FuzzCursor(f *testing.F) {
	f.Add(cursor{number: 7, pos: 20, given: 19, pinned: 3, began: noon.UnixMicro(), last: "films/a"}.marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := parseCursor(b); err == nil {
			require.True(t, slices.Equal(b, c.marshal()))
		}
	})
}

// A cursor from elsewhere may point anywhere in the list, also past its end.
func TestACursorPastTheEndIsAnEmptyPage(t *testing.T) {
	h := newHouse(t)
	h.put(film("a"))
	h.publish(list("hot", "a"))
	number := h.Generations.Latest("charts/hot", generations.World).Number
	req := ask("hot", adult)
	bound, err := bind(req, adult)
	require.NoError(t, err)
	req.PageToken = h.seal(rankedMethod, cursor{number: number, pos: 1 << 29, given: 5}, bound)
	m, err := h.ListRankedFilms(t.Context(), req)
	require.NoError(t, err)
	assert.Empty(t, m.GetFilms())
	assert.Empty(t, m.GetNextPageToken())
}
