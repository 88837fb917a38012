package catalog

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
)

func TestLabelsAreParsedKeptAndNeverWeakened(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		label := func(raw string) func(*pb.Film) {
			return func(f *pb.Film) { f.Provenance.AigcLabel = &pb.AigcLabel{Raw: []byte(raw)} }
		}
		broken := h.film("broken", label("Label: AIGC"))
		assert.False(t, broken.GetProvenance().GetAigcLabel().GetValid())
		assert.Equal(t, pb.AigcLabel_SUSPECTED, broken.GetProvenance().GetAigcLabel().GetClass())
		assert.Equal(t, "Label: AIGC", string(broken.GetProvenance().GetAigcLabel().GetRaw()))

		f := h.published("a", label(`{"AIGC":{"Label":"1","ProduceID":"x"}}`))
		assert.True(t, f.GetProvenance().GetAigcLabel().GetValid())
		assert.Equal(t, "x", f.GetProvenance().GetAigcLabel().GetProduceId())
		weaken := func(change func(*pb.Film)) error {
			sent := h.get("films/a")
			change(sent)
			sent.Etag = ""
			_, err := h.UpdateFilm(h.ctx, &pb.UpdateFilmRequest{Film: sent, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"provenance"}}})
			return err
		}
		for name, change := range map[string]func(*pb.Film){
			"no label":      func(f *pb.Film) { f.Provenance.AigcLabel = nil },
			"may be":        label(`{"AIGC":{"Label":"2"}}`),
			"no provenance": func(f *pb.Film) { f.Provenance = nil },
		} {
			err := weaken(change)
			assert.Equal(t, pb.ErrorReason_DISCLOSURE_WEAKENED, reason(t, err), name)
			assert.Equal(t, fault.FailedPrecondition, fault.As(err).Kind, name)
		}
		assert.NoError(t, weaken(label(`{"AIGC":{"Label":"1","ProduceID":"y"}}`)), "as strong")

		sent := named("films/a")
		sent.Provenance.AigcLabel = &pb.AigcLabel{Raw: []byte(`{"AIGC":{"Label":"3"}}`)}
		result := h.imports(&pb.ImportFilmsRequest{Films: []*pb.Film{sent}})[0]
		assert.Equal(t, rejected, result.Outcome, "nor by an import")
		assert.Equal(t, "DISCLOSURE_WEAKENED", statusReason(t, result))
	})
}

func TestPublishAsksForTheRulesOfTheMarketsNamed(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		h.genre("cartoons", true)
		f := h.film("a", func(f *pb.Film) {
			f.Genres, f.Licenses, f.MinorsReview = []string{"cartoons"}, nil, nil
			f.Availability = []*pb.Availability{{Markets: []string{"CN", "US"}}}
		})
		for _, only := range []bool{true, false} {
			_, err := h.PublishFilm(h.ctx, &pb.PublishFilmRequest{Name: f.Name, ValidateOnly: only})
			require.Equal(t, pb.ErrorReason_NOT_PUBLISHABLE, reason(t, err))
			var rules []string
			for _, v := range fault.As(err).Violations {
				assert.Equal(t, "CN", v.Subject)
				assert.NotEmpty(t, v.Description)
				rules = append(rules, v.Rule)
			}
			assert.Contains(t, rules, "cn-license-feature")
			assert.Contains(t, rules, "cn-minors-review")
		}
	})
}
