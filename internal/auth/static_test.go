package auth_test

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/fault"
)

const webKey = "a-key-for-the-front-end"

func TestStaticKeys(t *testing.T) {
	sum := sha256.Sum256([]byte("the-key-of-the-editors"))
	path := filepath.Join(t.TempDir(), "keys.json")
	require.NoError(t, os.WriteFile(path, []byte(`{
		"`+webKey+`": {"id": "web", "roles": ["VIEWER"], "age_band": "AGE_8", "markets": ["CN", "US"]},
		"sha256:`+hex.EncodeToString(sum[:])+`": {"id": "desk", "roles": ["EDITOR", "PUBLISHER"], "audience": "ADULT"}
	}`), 0o600))
	s, err := auth.ReadStatic(path)
	require.NoError(t, err)
	web, err := s.Authenticate(t.Context(), auth.Credentials{Bearer: webKey})
	require.NoError(t, err)
	assert.Equal(t, &auth.Caller{ID: "web", Roles: 1 << pb.Access_VIEWER, Audience: pb.Viewer_KIDS, AgeBand: pb.Film_AGE_8, Markets: []string{"CN", "US"}}, web)
	desk, err := s.Authenticate(t.Context(), auth.Credentials{Bearer: "the-key-of-the-editors"})
	require.NoError(t, err)
	assert.Equal(t, "desk", desk.ID)
	assert.True(t, desk.Has(pb.Access_EDITOR))
	assert.False(t, desk.Has(pb.Access_ADMIN))
	nobody, err := s.Authenticate(t.Context(), auth.Credentials{})
	require.NoError(t, err)
	assert.Zero(t, nobody.Roles)
	for _, bad := range []string{"x", webKey + "x", webKey[1:], "sha256:" + hex.EncodeToString(sum[:])} {
		_, err := s.Authenticate(t.Context(), auth.Credentials{Bearer: bad})
		require.True(t, fault.Is(err, pb.ErrorReason_UNAUTHENTICATED), bad)
		assert.NotContains(t, err.Error(), bad)
	}
}

func TestStaticFilesAreChecked(t *testing.T) {
	for name, content := range map[string]string{
		"empty":          ``,
		"no object":      `[]`,
		"no end":         `{`,
		"more after":     `{} {}`,
		"short key":      `{"short": {"id": "a", "roles": ["VIEWER"]}}`,
		"bad hash":       `{"sha256:xyz": {"id": "a", "roles": ["VIEWER"]}}`,
		"unknown field":  `{"` + webKey + `": {"id": "a", "roles": ["VIEWER"], "role": 1}}`,
		"no id":          `{"` + webKey + `": {"roles": ["VIEWER"]}}`,
		"no roles":       `{"` + webKey + `": {"id": "a"}}`,
		"unknown role":   `{"` + webKey + `": {"id": "a", "roles": ["KING"]}}`,
		"zero role":      `{"` + webKey + `": {"id": "a", "roles": ["ROLE_UNSPECIFIED"]}}`,
		"bad market":     `{"` + webKey + `": {"id": "a", "roles": ["VIEWER"], "markets": ["china"]}}`,
		"no markets":     `{"` + webKey + `": {"id": "a", "roles": ["VIEWER"], "markets": []}}`,
		"bad audience":   `{"` + webKey + `": {"id": "a", "roles": ["VIEWER"], "audience": "DOGS"}}`,
		"bad band":       `{"` + webKey + `": {"id": "a", "roles": ["VIEWER"], "age_band": "AGE_9"}}`,
		"adult children": `{"` + webKey + `": {"id": "a", "roles": ["VIEWER"], "audience": "KIDS", "age_band": "AGE_18"}}`,
		"bad expiry":     `{"` + webKey + `": {"id": "a", "roles": ["VIEWER"], "expires": "tomorrow"}}`,
		"a key twice":    `{"` + webKey + `": {"id": "a", "roles": ["VIEWER"]}, "` + webKey + `": {"id": "b", "roles": ["ADMIN"]}}`,
	} {
		_, err := auth.ParseStatic([]byte(content))
		require.Error(t, err, name)
		assert.NotContains(t, err.Error(), webKey, "an error must not tell a key")
	}
	_, err := auth.ReadStatic(filepath.Join(t.TempDir(), "none"))
	assert.Error(t, err)
}

func TestStaticKeysExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		soon := time.Now().Add(time.Hour).Format(time.RFC3339)
		s, err := auth.ParseStatic([]byte(`{
			"` + webKey + `": {"id": "web", "roles": ["VIEWER"], "expires": "` + soon + `"},
			"san:web.example": {"id": "web", "roles": ["VIEWER"], "expires": "` + soon + `"}}`))
		require.NoError(t, err)
		leaf := &x509.Certificate{DNSNames: []string{"web.example"}}
		all := []auth.Credentials{{Bearer: webKey}, {TLS: &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{leaf}}}}}
		time.Sleep(time.Hour - time.Nanosecond)
		for _, c := range all {
			caller, err := s.Authenticate(t.Context(), c)
			require.NoError(t, err)
			assert.Equal(t, "web", caller.ID)
		}
		time.Sleep(time.Nanosecond)
		for _, c := range all {
			_, err := s.Authenticate(t.Context(), c)
			require.True(t, fault.Is(err, pb.ErrorReason_UNAUTHENTICATED))
			assert.ErrorContains(t, err, "the key has expired")
		}
	})
}

func FuzzParseStatic(f *testing.F) {
	f.Add(`{"` + webKey + `": {"id": "web", "roles": ["VIEWER"]}}`)
	f.Add(`{"a":`)
	f.Fuzz(func(t *testing.T, s string) {
		static, err := auth.ParseStatic([]byte(s))
		require.Equal(t, err == nil, static != nil)
	})
}

func TestEveryMethodSaysWhoMayCall(t *testing.T) {
	for _, file := range []protoreflect.FileDescriptor{
		pb.File_theater_v1_catalog_service_proto, pb.File_theater_v1_listing_service_proto, pb.File_theater_v1_signal_service_proto,
		pb.File_theater_v1_chart_service_proto, pb.File_theater_v1_curation_service_proto,
	} {
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for j := range methods.Len() {
				roles, err := auth.Policy(methods.Get(j))
				require.NoError(t, err)
				assert.NoError(t, (&auth.Caller{Roles: 1 << pb.Access_ADMIN}).Allow(roles))
				assert.True(t, fault.Is((&auth.Caller{}).Allow(roles), pb.ErrorReason_UNAUTHENTICATED))
			}
		}
	}
	// A service of somebody else's carries no option; as one of ours it would stop the start.
	foreign := healthpb.File_grpc_health_v1_health_proto.Services().Get(0).Methods().Get(0)
	_, err := auth.Policy(foreign)
	assert.ErrorContains(t, err, string(foreign.FullName()))
}
