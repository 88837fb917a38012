package app_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/app"
	"github.com/aitheater/theater/internal/theatertest/house"
)

// canary is a film that some viewers must never meet, not even by its title or picture.
type canary struct {
	id   string
	film *pb.Film
	// hide is done to the published film once it tops the charts.
	hide func(t *testing.T, h *house.House, name string)
	// seen says which viewers may see it.
	seen func(v *pb.Viewer) bool
}

func nobody(*pb.Viewer) bool     { return false }
func adults(v *pb.Viewer) bool   { return v.GetAudience() == pb.Viewer_ADULT }
func american(v *pb.Viewer) bool { return v.GetMarket() == "US" }

// title and picture are unique to the film and do not contain its id: an answer that
// rightly echoes the name it was asked for must still not hold them.
func (c *canary) title() string {
	return "Secret of " + strings.ToUpper(strings.ReplaceAll(c.id, "-", "_"))
}
func (c *canary) picture() string { return "/pic/" + fmt.Sprintf("%x", c.id) + ".png" }

func canaries(now time.Time) []*canary {
	make := func(id string, seen func(*pb.Viewer) bool, change func(f *pb.Film), hide func(*testing.T, *house.House, string)) *canary {
		c := &canary{id: id, seen: func(v *pb.Viewer) bool { return american(v) && seen(v) }, hide: hide}
		c.film = feature(id)
		c.film.Localizations["en"].Title = c.title()
		c.film.Genres = []string{"canaries"}
		c.film.Availability = []*pb.Availability{{Markets: []string{"US"}}}
		c.film.Artwork = []*pb.Artwork{{Kind: pb.Artwork_POSTER, Uri: c.picture()}, {Kind: pb.Artwork_BACKDROP, Uri: c.picture()}}
		if change != nil {
			change(c.film)
		}
		return c
	}
	update := func(change func(f *pb.Film), paths ...string) func(*testing.T, *house.House, string) {
		return func(t *testing.T, h *house.House, name string) {
			f := &pb.Film{Name: name}
			change(f)
			_, err := h.Catalog.UpdateFilm(t.Context(), &pb.UpdateFilmRequest{Film: f, UpdateMask: mask(paths...)})
			require.NoError(t, err)
		}
	}
	fromBand := func(b pb.Film_AgeBand) func(*pb.Viewer) bool {
		return func(v *pb.Viewer) bool { return adults(v) || max(v.GetAgeBand(), pb.Film_ALL) >= b }
	}
	at := func(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(now.Add(d)) }
	return []*canary{
		make("for-all", func(*pb.Viewer) bool { return true }, func(f *pb.Film) { f.AgeBand, f.MinorsReview.AgeBand = pb.Film_ALL, pb.Film_ALL }, nil),
		make("from-eight", fromBand(pb.Film_AGE_8), nil, nil),
		make("over-age", adults, func(f *pb.Film) { f.AgeBand = pb.Film_AGE_18 }, nil),
		make("unreviewed", adults, func(f *pb.Film) { f.MinorsReview = nil }, nil),
		make("unbanded", adults, func(f *pb.Film) { f.AgeBand = pb.Film_AGE_BAND_UNSPECIFIED }, nil),
		make("rated-above", fromBand(pb.Film_AGE_16), func(f *pb.Film) { f.Ratings = []*pb.Rating{{Market: "US", System: "MPA", Code: "R"}} }, nil),
		make("elsewhere", nobody, nil, update(func(f *pb.Film) { f.Availability = []*pb.Availability{{Markets: []string{"FR"}}} }, "availability")),
		make("not-yet", nobody, nil, update(func(f *pb.Film) {
			f.Availability = []*pb.Availability{{Markets: []string{"US"}, StartTime: at(time.Hour)}}
		}, "availability")),
		make("announced", fromBand(pb.Film_AGE_8), nil, update(func(f *pb.Film) {
			f.Availability = []*pb.Availability{{Markets: []string{"US"}, AnnounceTime: at(-time.Hour), StartTime: at(time.Hour)}}
		}, "availability")),
		make("expired", nobody, nil, update(func(f *pb.Film) {
			f.Availability = []*pb.Availability{{Markets: []string{"US"}, EndTime: at(-time.Second)}}
		}, "availability")),
		make("withdrawn", nobody, nil, func(t *testing.T, h *house.House, name string) {
			_, err := h.Catalog.WithdrawFilm(t.Context(), &pb.WithdrawFilmRequest{Name: name})
			require.NoError(t, err)
		}),
		make("down-here", nobody, nil, func(t *testing.T, h *house.House, name string) {
			_, err := h.Catalog.TakeDownFilm(t.Context(), &pb.TakeDownFilmRequest{Name: name, Markets: []string{"US"}})
			require.NoError(t, err)
		}),
		make("down", nobody, nil, func(t *testing.T, h *house.House, name string) {
			_, err := h.Catalog.TakeDownFilm(t.Context(), &pb.TakeDownFilmRequest{Name: name})
			require.NoError(t, err)
		}),
		make("deleted", nobody, nil, func(t *testing.T, h *house.House, name string) {
			_, err := h.Catalog.DeleteFilm(t.Context(), &pb.DeleteFilmRequest{Name: name})
			require.NoError(t, err)
		}),
		make("re-rated", adults, func(f *pb.Film) { f.AgeBand, f.MinorsReview.AgeBand = pb.Film_ALL, pb.Film_ALL },
			update(func(f *pb.Film) { f.AgeBand = pb.Film_AGE_18 }, "age_band")),
	}
}

// viewers are all kinds of viewers in a market where the canaries are and one where they are not.
func viewers() []*pb.Viewer {
	var all []*pb.Viewer
	for _, market := range []string{"US", "GB"} {
		all = append(all, &pb.Viewer{Market: market}, &pb.Viewer{Market: market, Audience: pb.Viewer_ADULT, Languages: []string{"en"}})
		for band := pb.Film_ALL; band < pb.Film_AGE_18; band++ {
			all = append(all, &pb.Viewer{Market: market, Audience: pb.Viewer_KIDS, AgeBand: band, Languages: []string{"zh"}})
		}
	}
	return all
}

// question is one request of the matrix; ids says that its answer may echo names it holds.
type question struct {
	request proto.Message
	ids     bool
}

// matrix asks every method a viewer may call, each in every way that could show a film. A
// method without an entry fails the test.
var matrix = map[string]func(h *house.House, v *pb.Viewer, names []string) []question{
	"ListRankedFilms": func(_ *house.House, v *pb.Viewer, _ []string) (all []question) {
		for _, chart := range []string{"hot", "rising", "top-rated", "new", "most-watched", "every"} {
			for _, genre := range []string{"", "canaries"} {
				for _, kind := range []pb.Film_ContentType{0, pb.Film_FILM} {
					for _, size := range []int32{1, 3, 100} {
						all = append(all, question{request: &pb.ListRankedFilmsRequest{Chart: "charts/" + chart, Viewer: v, Genre: genre, ContentType: kind, PageSize: size}})
					}
				}
			}
		}
		return all
	},
	"GetHome": func(_ *house.House, v *pb.Viewer, _ []string) (all []question) {
		for _, page := range []string{"", "home", "kids", "canaries", "none"} {
			all = append(all, question{request: &pb.GetHomeRequest{Viewer: v, Page: page}}, question{request: &pb.GetHomeRequest{Viewer: v, Page: page, CardsPerSection: 1}})
		}
		return all
	},
	"ListSectionFilms": func(_ *house.House, v *pb.Viewer, _ []string) (all []question) {
		for _, section := range []string{"hot", "new", "canaries", "pinned", "ruled", "kids-hot", "kids-new", "none"} {
			for _, size := range []int32{2, 100} {
				all = append(all, question{request: &pb.ListSectionFilmsRequest{Parent: "sections/" + section, Viewer: v, PageSize: size}})
			}
		}
		return all
	},
	"GetTitle": func(_ *house.House, v *pb.Viewer, names []string) (all []question) {
		for _, name := range append(names, "films/never-was") {
			all = append(all, question{request: &pb.GetTitleRequest{Name: name, Viewer: v}})
		}
		return all
	},
	"BatchGetCards": func(_ *house.House, v *pb.Viewer, names []string) []question {
		return []question{{request: &pb.BatchGetCardsRequest{Names: names, Viewer: v}, ids: true}}
	},
	"ListGenres": func(_ *house.House, v *pb.Viewer, _ []string) []question {
		return []question{{request: &pb.ListingServiceListGenresRequest{Viewer: v}}}
	},
	"ListCharts": func(_ *house.House, v *pb.Viewer, _ []string) []question {
		return []question{{request: &pb.ListingServiceListChartsRequest{Viewer: v}}}
	},
	// An event is answered the same for every undeleted film, whoever may see it.
	"RecordEvents": func(_ *house.House, v *pb.Viewer, names []string) []question {
		var events []*pb.Event
		for _, name := range names {
			events = append(events, &pb.Event{Film: name, ViewerKey: "matrix", Market: v.GetMarket(), Kind: pb.Event_LIKE, OccurTime: timestamppb.Now(), Audience: v.GetAudience()})
		}
		return []question{{request: &pb.RecordEventsRequest{Events: events}}}
	},
}

// rawCodec hands the bytes of answers over as they came.
type rawCodec struct{ encoding.CodecV2 }

func (c rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	if raw, ok := v.(*[]byte); ok {
		*raw = data.Materialize()
		return nil
	}
	return c.CodecV2.Unmarshal(data, v)
}

// reply is all that came back of a call.
type reply struct {
	body            []byte
	header, trailer metadata.MD
	err             error
}

// everything is the reply as one run of bytes.
func (r reply) everything() []byte {
	all := slices.Clone(r.body)
	for _, md := range []metadata.MD{r.header, r.trailer} {
		for key, values := range md {
			all = fmt.Append(all, key, values)
		}
	}
	if r.err != nil {
		wire, err := proto.Marshal(status.Convert(r.err).Proto())
		if err != nil {
			panic(err)
		}
		all = append(all, wire...)
	}
	return all
}

func ask(ctx context.Context, conn grpc.ClientConnInterface, method string, request proto.Message) (r reply) {
	r.err = conn.Invoke(ctx, method, request, &r.body, grpc.Header(&r.header), grpc.Trailer(&r.trailer), grpc.ForceCodecV2(rawCodec{encoding.GetCodecV2("proto")}))
	return r
}

// chain asks for all pages that follow an answer.
func chain(ctx context.Context, t *testing.T, conn grpc.ClientConnInterface, method protoreflect.MethodDescriptor, q question) (all []reply) {
	full := "/" + string(method.Parent().FullName()) + "/" + string(method.Name())
	request := proto.Clone(q.request)
	for range 60 {
		r := ask(ctx, conn, full, request)
		all = append(all, r)
		field := request.ProtoReflect().Descriptor().Fields().ByName("page_token")
		if r.err != nil || field == nil {
			return all
		}
		answer := dynamic(t, method, r.body)
		next := answer.Get(answer.Descriptor().Fields().ByName("next_page_token")).String()
		if next == "" {
			return all
		}
		request.ProtoReflect().Set(field, protoreflect.ValueOfString(next))
	}
	t.Fatalf("%s: a chain of more than 60 pages", full)
	return nil
}

func dynamic(t *testing.T, method protoreflect.MethodDescriptor, body []byte) protoreflect.Message {
	t.Helper()
	kinds := map[protoreflect.FullName]proto.Message{"theater.v1.ListRankedFilmsResponse": &pb.ListRankedFilmsResponse{}, "theater.v1.ListSectionFilmsResponse": &pb.ListSectionFilmsResponse{}}
	m := kinds[method.Output().FullName()]
	require.NotNil(t, m, "%s pages: add its answer here", method.FullName())
	require.NoError(t, proto.Unmarshal(body, m))
	return m.ProtoReflect()
}

// viewerMethods are the methods the schema opens to VIEWER.
func viewerMethods(t *testing.T) map[string]protoreflect.MethodDescriptor {
	t.Helper()
	found := map[string]protoreflect.MethodDescriptor{}
	for _, file := range []protoreflect.FileDescriptor{pb.File_theater_v1_catalog_service_proto, pb.File_theater_v1_listing_service_proto, pb.File_theater_v1_signal_service_proto,
		pb.File_theater_v1_chart_service_proto, pb.File_theater_v1_curation_service_proto} {
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for j := range methods.Len() {
				m := methods.Get(j)
				access := proto.GetExtension(m.Options(), pb.E_Access).(*pb.Access)
				if slices.Contains(access.GetRoles(), pb.Access_VIEWER) {
					found[string(m.Name())] = m
				}
			}
		}
	}
	return found
}

// stage fills a house: every canary is played and rated enough to top every chart, stands in
// sections of each kind, and is then hidden.
func stage(t *testing.T, h *house.House, all []*canary) {
	t.Helper()
	now := time.Now()
	films := []*pb.Film{feature("harmless")}
	for _, c := range all {
		films = append(films, c.film)
	}
	load(t, h, films...)
	_, err := h.Charts.CreateChart(t.Context(), &pb.CreateChartRequest{ChartId: "every", Chart: &pb.Chart{Kind: pb.Chart_WILSON, Z: 1.96, PositiveThreshold: 4, Title: map[string]string{"en": "Every"}}})
	require.NoError(t, err)
	var events []*pb.Event
	var names []string
	for _, f := range films {
		if f.GetName() != "films/harmless" {
			names = append(names, f.GetName())
		}
		for v := range 12 {
			for kind, value := range map[pb.Event_Kind]float64{pb.Event_PLAY: 5000, pb.Event_LIKE: 0, pb.Event_RATE: 5} {
				events = append(events, &pb.Event{Film: f.GetName(), ViewerKey: fmt.Sprint("fan", v), Market: "US", Kind: kind, Value: value, OccurTime: timestamppb.New(now.Add(-time.Minute)), Audience: pb.Viewer_ADULT})
			}
		}
	}
	record(t, h, events...)
	pins := []*pb.Pin{}
	for i, name := range names {
		pins = append(pins, &pb.Pin{Position: int32(i + 1), Film: name})
	}
	for id, sec := range map[string]*pb.Section{
		"canaries": {Source: &pb.Section_Manual{Manual: &pb.ManualSource{Films: names}}},
		"pinned":   {Source: &pb.Section_Chart{Chart: &pb.ChartSource{Chart: "charts/hot"}}, Pins: pins},
		"ruled":    {Source: &pb.Section_Rule{Rule: &pb.RuleSource{Filter: `genres:"canaries"`}}},
	} {
		sec.Title = map[string]string{"en": id}
		_, err := h.Curation.CreateSection(t.Context(), &pb.CreateSectionRequest{SectionId: id, Section: sec})
		require.NoError(t, err)
	}
	_, err = h.Curation.UpdateLayout(t.Context(), &pb.UpdateLayoutRequest{Layout: &pb.Layout{Name: "layouts/canaries", Sections: []string{"sections/canaries", "sections/pinned", "sections/ruled"}}})
	require.NoError(t, err)
	eventually(t, time.Minute, "every canary tops the charts", func() bool { return len(hot(t, h, adult, 100)) == len(films) })
	for _, c := range all {
		if c.hide != nil {
			c.hide(t, h, c.film.GetName())
		}
	}
}

// P5: no answer of any method shows or reveals a film to a viewer who may not see it, by
// name, title or picture, in body, headers, trailers or errors.
func TestP5_NothingHiddenIsRevealedByAnyMethod(t *testing.T) {
	t.Parallel()
	h := house.Start(t, app.Config{})
	all := canaries(time.Now())
	stage(t, h, all)
	var names []string
	for _, c := range all {
		names = append(names, c.film.GetName())
	}
	methods := viewerMethods(t)
	require.GreaterOrEqual(t, len(methods), 8)
	asked, shown := 0, map[string]bool{}
	for name, method := range methods {
		questions, ok := matrix[name]
		require.True(t, ok, "%s may be called by viewers and has no entry in the matrix", name)
		for _, v := range viewers() {
			for _, q := range questions(h, v, names) {
				for _, r := range chain(t.Context(), t, h.Conn, method, q) {
					asked++
					bytesOf := r.everything()
					for _, c := range all {
						if c.seen(v) {
							shown[c.id] = shown[c.id] || bytes.Contains(bytesOf, []byte(c.title()))
							continue
						}
						require.NotContains(t, string(bytesOf), c.title(), "%s %v shows %s", name, q.request, c.id)
						require.NotContains(t, string(bytesOf), c.picture(), "%s %v shows %s", name, q.request, c.id)
						if !q.ids {
							require.NotContains(t, string(bytesOf), "films/"+c.id+"\x12", "%s %v names %s", name, q.request, c.id)
							require.False(t, r.err != nil && bytes.Contains(bytesOf, []byte(c.id)), "%s %v names %s in its error", name, q.request, c.id)
						}
					}
				}
			}
		}
	}
	for _, c := range all {
		if c.seen(adult) {
			require.True(t, shown[c.id], "the matrix would not have noticed %s: nobody saw it", c.id)
		}
	}
	t.Logf("%d answers searched", asked)
}

// Hidden and absent are the same, byte for byte.
func TestP5_HiddenAndAbsentAreByteIdentical(t *testing.T) {
	t.Parallel()
	h := house.Start(t, app.Config{})
	all := canaries(time.Now())
	stage(t, h, all)
	const title = pb.ListingService_GetTitle_FullMethodName
	for _, v := range viewers() {
		for _, c := range all {
			if c.seen(v) {
				continue
			}
			var absent, hidden reply
			for range 20 { // whether Redis answers may change between two calls
				absent = ask(t.Context(), h.Conn, title, &pb.GetTitleRequest{Name: "films/never-was", Viewer: v})
				hidden = ask(t.Context(), h.Conn, title, &pb.GetTitleRequest{Name: c.film.GetName(), Viewer: v})
				if slices.Equal(absent.trailer.Get("theater-degraded"), hidden.trailer.Get("theater-degraded")) {
					break
				}
			}
			require.Error(t, absent.err)
			require.Error(t, hidden.err, c.id)
			require.True(t, proto.Equal(status.Convert(absent.err).Proto(), status.Convert(hidden.err).Proto()), "%s: %v", c.id, hidden.err)
			for _, key := range []string{"theater-revision", "theater-degraded"} {
				require.Equal(t, absent.trailer.Get(key), hidden.trailer.Get(key), "%s: %s", c.id, key)
			}
			batch := func(name string) []byte {
				r := ask(t.Context(), h.Conn, pb.ListingService_BatchGetCards_FullMethodName, &pb.BatchGetCardsRequest{Names: []string{name}, Viewer: v})
				require.NoError(t, r.err)
				return bytes.ReplaceAll(r.body, []byte(name), []byte("films/x"))
			}
			require.Equal(t, len(batch("films/never-was")), len(batch(c.film.GetName())), c.id)
		}
	}
}

// A token's claims win over what a request asks for, and page tokens of one audience are
// worthless in another.
func TestP5_ClaimsWinAndTokensDoNotTravel(t *testing.T) {
	t.Parallel()
	keys := filepath.Join(t.TempDir(), "keys.json")
	require.NoError(t, os.WriteFile(keys, []byte(`{
		"key-of-the-admin-0001": {"id": "admin", "roles": ["ADMIN"]},
		"key-of-the-kids-app-01": {"id": "kids-app", "roles": ["VIEWER"], "audience": "KIDS", "age_band": "AGE_8"},
		"key-of-the-tv-app-0001": {"id": "tv-app", "roles": ["VIEWER"], "markets": ["US"]}
	}`), 0o600))
	store := filepath.Join(t.TempDir(), "theater.db")
	h := house.Start(t, app.Config{Store: "sqlite:" + store})
	all := canaries(time.Now())
	stage(t, h, all)
	h.Stop()
	guarded := house.Start(t, app.Config{Store: "sqlite:" + store, Auth: "static:" + keys})
	with := func(key string) context.Context {
		return metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+key)
	}
	list := func(key string, v *pb.Viewer, token string) (*pb.ListRankedFilmsResponse, error) {
		return guarded.Listing.ListRankedFilms(with(key), &pb.ListRankedFilmsRequest{Chart: "charts/hot", Viewer: v, PageSize: 2, PageToken: token})
	}
	child := &pb.Viewer{Market: "US", Audience: pb.Viewer_KIDS, AgeBand: pb.Film_AGE_8}
	want, err := list("key-of-the-kids-app-01", child, "")
	require.NoError(t, err)
	require.NotEmpty(t, want.GetFilms())
	for _, wide := range []*pb.Viewer{{Market: "US", Audience: pb.Viewer_ADULT, AgeBand: pb.Film_AGE_16}, {Market: "US", Audience: pb.Viewer_KIDS, AgeBand: pb.Film_AGE_16}} {
		got, err := list("key-of-the-kids-app-01", wide, "")
		require.NoError(t, err)
		require.Equal(t, len(want.GetFilms()), len(got.GetFilms()))
		for i, f := range got.GetFilms() {
			require.Equal(t, want.GetFilms()[i].GetCard().GetName(), f.GetCard().GetName(), "a request may narrow, never widen")
		}
	}
	_, err = list("key-of-the-tv-app-0001", &pb.Viewer{Market: "GB", Audience: pb.Viewer_ADULT}, "")
	require.Error(t, err)
	adults, err := list("key-of-the-tv-app-0001", adult, "")
	require.NoError(t, err)
	require.NotEmpty(t, adults.GetNextPageToken())
	for _, v := range []*pb.Viewer{child, {Market: "US"}, {Market: "US", Audience: pb.Viewer_KIDS, AgeBand: pb.Film_AGE_16}} {
		_, err = list("key-of-the-tv-app-0001", v, adults.GetNextPageToken())
		require.ErrorContains(t, err, "page_token")
		_, err = list("key-of-the-kids-app-01", adult, adults.GetNextPageToken())
		require.ErrorContains(t, err, "page_token")
	}
}
