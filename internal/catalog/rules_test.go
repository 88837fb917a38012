package catalog

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/disclosure"
	"github.com/aitheater/theater/internal/fault"
)

func TestResolveDisclosure(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		f := h.film("a", func(f *pb.Film) { f.Provenance.DigitalSourceType = iptc + "digitalCapture" })
		created := h.clock.Now()
		time.Sleep(20 * time.Millisecond)
		_, err := h.UpdateFilm(h.ctx, &pb.UpdateFilmRequest{Film: &pb.Film{Name: f.Name, Provenance: &pb.Provenance{DigitalSourceType: generated}}})
		require.NoError(t, err)
		h.tag(f.Name, "later")
		key := func(at *timestamppb.Timestamp) string {
			t.Helper()
			resp, err := h.ResolveDisclosure(h.ctx, &pb.ResolveDisclosureRequest{Film: f.Name, Market: "CN", Surface: pb.DisclosureSurface_PLAYER, Language: "zh-CN", Time: at})
			require.NoError(t, err)
			assert.NotEmpty(t, resp.Disclosure.Text)
			assert.Equal(t, disclosure.Version, resp.RulesVersion)
			return resp.Disclosure.Key
		}
		assert.NotEqual(t, key(nil), key(timestamppb.New(created)), "the film as it was")
		assert.Equal(t, key(nil), key(timestamppb.New(h.clock.Now())))
		past, err := h.ResolveDisclosure(h.ctx, &pb.ResolveDisclosureRequest{Film: f.Name, Market: "CN", Time: at("2025-08-31T00:00:00Z")})
		require.NoError(t, err)
		now, err := h.ResolveDisclosure(h.ctx, &pb.ResolveDisclosureRequest{Film: f.Name, Market: "CN"})
		require.NoError(t, err)
		assert.NotEqual(t, past.Disclosure.Rule, now.Disclosure.Rule, "the rules as they were")
		for path, req := range map[string]*pb.ResolveDisclosureRequest{
			"film": {Film: "a", Market: "CN"}, "language": {Film: f.Name, Market: "CN", Language: "zh_CN"},
			"time": {Film: f.Name, Market: "CN", Time: &timestamppb.Timestamp{Nanos: -1}},
		} {
			_, err := h.ResolveDisclosure(h.ctx, req)
			require.NotNil(t, fault.As(err), path)
			assert.Equal(t, path, fault.As(err).Fields[0].Path)
		}
		_, err = h.ResolveDisclosure(h.ctx, &pb.ResolveDisclosureRequest{Film: "films/none", Market: "CN"})
		assert.Equal(t, pb.ErrorReason_FILM_NOT_FOUND, reason(t, err))
	})
}

func TestListRules(t *testing.T) {
	onEachStore(t, func(t *testing.T, h *house) {
		want := disclosure.Rules("")
		var got []string
		req := &pb.ListRulesRequest{PageSize: 7}
		for {
			page, err := h.ListRules(h.ctx, req)
			require.NoError(t, err)
			assert.Equal(t, disclosure.Version, page.RulesVersion)
			for _, r := range page.Rules {
				got = append(got, ruleKey(r))
			}
			if req.PageToken = page.NextPageToken; req.PageToken == "" {
				break
			}
		}
		require.Len(t, got, len(want))
		seen := map[string]bool{}
		for i, key := range got {
			assert.Equal(t, ruleKey(want[i]), key)
			assert.False(t, seen[key], key)
			seen[key] = true
		}
	})
}
