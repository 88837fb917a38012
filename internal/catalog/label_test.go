package catalog

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/disclosure"
	"github.com/aitheater/theater/internal/fault"
)

const iptc = "http://cv.iptc.org/newscodes/digitalsourcetype/"

func labelled(raw string) *pb.Provenance {
	return &pb.Provenance{DigitalSourceType: generated, AigcLabel: &pb.AigcLabel{Raw: []byte(raw)}}
}

func TestLabelsAreKeptAndParsed(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		raw := `{ "AIGC" : {"Label":"1","ContentProducer":"Seedance","ProduceID":"42"} }`
		f := h.film("a", func(f *pb.Film) {
			f.Provenance = labelled(raw)
			f.Provenance.AigcLabel.Class = pb.AigcLabel_SUSPECTED // output only
		})
		l := f.Provenance.AigcLabel
		assert.Equal(t, raw, string(l.Raw))
		assert.True(t, l.Valid)
		assert.Equal(t, pb.AigcLabel_CONFIRMED, l.Class)
		assert.Equal(t, "Seedance", l.ContentProducer)
		equal(t, f, h.get(f.Name))
		bad := h.film("b", func(f *pb.Film) { f.Provenance = labelled("Label: AIGC\x00\xff") })
		assert.Equal(t, "Label: AIGC\x00\xff", string(bad.Provenance.AigcLabel.Raw))
		assert.False(t, bad.Provenance.AigcLabel.Valid)
		assert.Equal(t, pb.AigcLabel_SUSPECTED, bad.Provenance.AigcLabel.Class)
		none := h.film("c", func(f *pb.Film) { f.Provenance = labelled("") })
		assert.Nil(t, none.Provenance.AigcLabel)
	})
}

func TestDisclosureIsNeverWeakened(t *testing.T) {
	of := func(source, label string, share float64) *pb.Film {
		f := &pb.Film{Provenance: &pb.Provenance{DigitalSourceType: source}}
		if label != "" {
			f.Provenance.AigcLabel = &pb.AigcLabel{Raw: []byte(`{"AIGC":{"Label":"` + label + `"}}`)}
		}
		if share > 0 {
			f.Provenance.Stages = []*pb.ProductionStage{{Stage: pb.ProductionStage_VIDEO, AiShare: share}}
		}
		derive(f)
		return f
	}
	for _, c := range []struct {
		name     string
		old, new *pb.Film
		weak     bool
	}{
		{"the same", of(generated, "1", 1), of(generated, "1", 1), false},
		{"nothing said before", &pb.Film{}, of(iptc+"digitalCapture", "", 0), false},
		{"an unknown type said nothing", of("?", "", 0), of(iptc+"digitalCapture", "", 0), false},
		{"stronger type", of(iptc+"digitalCapture", "", 0), of(generated, "", 0), false},
		{"weaker type", of(generated, "", 0), of(iptc+"digitalCapture", "", 0), true},
		{"weaker composite", of(generated, "", 0), of(iptc+"compositeSynthetic", "", 0), true},
		{"type taken away", of(generated, "", 0), &pb.Film{}, true},
		{"type made unknown", of(generated, "", 0), of("?", "", 0), true},
		{"machine's share taken away", of(iptc+"digitalCapture", "", .5), of(iptc+"digitalCapture", "", 0), true},
		{"label added", of(generated, "", 0), of(generated, "3", 0), false},
		{"label stronger", of(generated, "3", 0), of(generated, "1", 0), false},
		{"label weaker", of(generated, "1", 0), of(generated, "2", 0), true},
		{"label invalid", of(generated, "2", 0), of(generated, "x", 0), true},
		{"label taken away", of(generated, "3", 0), of(generated, "", 0), true},
	} {
		err := disclosure.Strengthens(c.old, c.new)
		if !c.weak {
			assert.NoError(t, err, c.name)
			continue
		}
		require.Equal(t, pb.ErrorReason_DISCLOSURE_WEAKENED, reason(t, err), c.name)
		assert.Equal(t, fault.FailedPrecondition, fault.As(err).Kind)
		assert.NotEmpty(t, fault.As(err).Violations)
	}
	onEachStore(t, func(t *testing.T, h *house) {
		f := h.published("a", func(f *pb.Film) { f.Provenance = labelled(`{"AIGC":{"Label":"1"}}`) })
		weaker := &pb.Film{Name: f.Name, Provenance: &pb.Provenance{DigitalSourceType: generated}}
		_, err := h.UpdateFilm(h.ctx, &pb.UpdateFilmRequest{Film: weaker})
		assert.Equal(t, pb.ErrorReason_DISCLOSURE_WEAKENED, reason(t, err))
		result := h.imports(&pb.ImportFilmsRequest{Films: []*pb.Film{weaker}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"provenance.aigc_label"}}})[0]
		assert.Equal(t, rejected, result.Outcome)
		assert.Equal(t, "DISCLOSURE_WEAKENED", statusReason(t, result))
		assert.Equal(t, unchanged, h.imports(&pb.ImportFilmsRequest{Films: []*pb.Film{weaker}})[0].Outcome, "a source that knows no label does not clear it")
		equal(t, f, h.get(f.Name))
	})
}

func TestCheckLabel(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		f := h.film("a", func(f *pb.Film) {
			f.Provenance = labelled(`{"AIGC":{"Label":"1","ProduceID":"42"}}`)
			f.Provenance.C2Pa = &pb.C2PaManifest{ManifestHash: "ABC123"}
		})
		bare, broken := h.film("b"), h.film("c", func(f *pb.Film) { f.Provenance = labelled("junk") })
		label := func(name, raw string) *pb.CheckLabelResponse {
			t.Helper()
			resp, err := h.CheckLabel(h.ctx, &pb.CheckLabelRequest{Name: name, Found: &pb.CheckLabelRequest_AigcLabel{AigcLabel: []byte(raw)}})
			require.NoError(t, err)
			return resp
		}
		const match, mismatch, unknown = pb.CheckLabelResponse_MATCH, pb.CheckLabelResponse_MISMATCH, pb.CheckLabelResponse_UNKNOWN
		assert.Equal(t, match, label(f.Name, `{"AIGC":{"Label":"1","ProduceID":"42"}}`).Result)
		assert.Equal(t, match, label(f.Name, `{ "AIGC": {"ProduceID":"42","Label":"1"}}`).Result, "the same fields, written otherwise")
		resp := label(f.Name, `{"AIGC":{"Label":"2","ProduceID":"42","ContentProducer":"x"}}`)
		assert.Equal(t, mismatch, resp.Result)
		assert.Equal(t, []string{"Label", "ContentProducer"}, resp.Differences)
		assert.Equal(t, pb.AigcLabel_POSSIBLE, resp.Label.Class)
		assert.Equal(t, mismatch, label(f.Name, "").Result)
		assert.Equal(t, unknown, label(bare.Name, `{"AIGC":{"Label":"1"}}`).Result)
		assert.Equal(t, match, label(broken.Name, "junk").Result)
		assert.Equal(t, mismatch, label(broken.Name, "other junk").Result)

		for hash, want := range map[string]pb.CheckLabelResponse_Result{"abc123": match, "def": mismatch, "": mismatch} {
			resp, err := h.CheckLabel(h.ctx, &pb.CheckLabelRequest{Name: f.Name, Found: &pb.CheckLabelRequest_ManifestHash{ManifestHash: hash}})
			require.NoError(t, err)
			assert.Equal(t, want, resp.Result, hash)
		}
		resp, err := h.CheckLabel(h.ctx, &pb.CheckLabelRequest{Name: bare.Name, Found: &pb.CheckLabelRequest_ManifestHash{ManifestHash: "abc"}})
		require.NoError(t, err)
		assert.Equal(t, unknown, resp.Result)
		_, err = h.CheckLabel(h.ctx, &pb.CheckLabelRequest{Name: f.Name})
		assert.Equal(t, "found", fault.As(err).Fields[0].Path)
		_, err = h.CheckLabel(h.ctx, &pb.CheckLabelRequest{Name: "films/none", Found: &pb.CheckLabelRequest_ManifestHash{}})
		assert.Equal(t, pb.ErrorReason_FILM_NOT_FOUND, reason(t, err))
	})
}

func TestEditorsAreLimitedToTheirMarkets(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		both := h.published("both") // GB and SG
		british := h.published("british", func(f *pb.Film) { f.Availability[0].Markets = []string{"GB"} })
		world := h.published("world", func(f *pb.Film) { f.Availability[0].Markets = nil })
		h.film("plain", func(f *pb.Film) { f.Availability = nil })
		everyone := h.ctx
		h.ctx = auth.WithCaller(everyone, &auth.Caller{ID: "london", Roles: 1<<pb.Access_EDITOR | 1<<pb.Access_PUBLISHER, Markets: []string{"GB"}})
		denied := func(err error, what string) {
			t.Helper()
			require.Error(t, err, what)
			assert.Equal(t, pb.ErrorReason_PERMISSION_DENIED, reason(t, err), what)
		}
		update := func(f *pb.Film) error {
			_, err := h.UpdateFilm(h.ctx, &pb.UpdateFilmRequest{Film: f})
			return err
		}
		down := func(name string, markets ...string) error {
			_, err := h.TakeDownFilm(h.ctx, &pb.TakeDownFilmRequest{Name: name, Markets: markets, Reason: "r"})
			return err
		}
		assert.NoError(t, update(&pb.Film{Name: british.Name, Tags: []string{"x"}}))
		assert.NoError(t, update(&pb.Film{Name: "films/plain", Tags: []string{"x"}}))
		denied(update(&pb.Film{Name: both.Name, Tags: []string{"x"}}), "a film of other markets too")
		denied(update(&pb.Film{Name: world.Name, Tags: []string{"x"}}), "a film of all markets")
		denied(update(&pb.Film{Name: british.Name, Availability: []*pb.Availability{{Markets: []string{"GB", "SG"}}}}), "reaching out")
		denied(update(&pb.Film{Name: british.Name, Availability: []*pb.Availability{{}}}), "reaching everywhere")
		assert.NoError(t, update(&pb.Film{Name: both.Name, Ratings: []*pb.Rating{{Market: "GB", System: "BBFC", Code: "U"}}}))
		denied(update(&pb.Film{Name: both.Name, Ratings: []*pb.Rating{{Market: "SG", System: "IMDA", Code: "G"}}}), "another market's rating")
		assert.NoError(t, update(&pb.Film{Name: both.Name, Availability: []*pb.Availability{{Markets: []string{"SG"}}}}), "out of one's own market")
		denied(update(&pb.Film{Name: both.Name, Availability: []*pb.Availability{{Markets: []string{"GB"}}}}), "out of another's")
		assert.NoError(t, down(world.Name, "GB"))
		denied(down(world.Name, "SG"), "take-down elsewhere")
		denied(down(world.Name), "take-down everywhere")
		assert.NoError(t, down(british.Name))
		_, err := h.DeleteFilm(h.ctx, &pb.DeleteFilmRequest{Name: world.Name})
		denied(err, "delete")
		f := lantern()
		_, err = h.CreateFilm(h.ctx, &pb.CreateFilmRequest{FilmId: "n", Film: f})
		denied(err, "create")
		f.Availability[0].Markets = []string{"GB"}
		_, err = h.CreateFilm(h.ctx, &pb.CreateFilmRequest{FilmId: "n", Film: f})
		assert.NoError(t, err)
		_, err = h.CreateGenre(h.ctx, &pb.CreateGenreRequest{GenreId: "g"})
		denied(err, "genres are for all markets")
		var told []string
		h.OnDenied(func(ctx context.Context, method, resource, why string) {
			told = append(told, auth.CallerFrom(ctx).ID, method, resource, why)
		})
		results := h.imports(&pb.ImportFilmsRequest{CreateGenres: true, Films: []*pb.Film{named("films/o"), {Name: "films/n", Tags: []string{"x"}}, {Name: "films/n", Genres: []string{"new"}}}})
		assert.Equal(t, "PERMISSION_DENIED", statusReason(t, results[0]))
		assert.Equal(t, updated, results[1].Outcome)
		assert.Equal(t, rejected, results[2].Outcome)
		assert.Equal(t, []string{"london", serviceName + "ImportFilms", "films/o", results[0].GetStatus().GetMessage()}, told)
	})
}
