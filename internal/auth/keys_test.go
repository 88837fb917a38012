package auth_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/fault"
)

func rootOf(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

func keysOf(t testing.TB, roots ...[]byte) *auth.Keys {
	t.Helper()
	k, err := auth.NewKeys(roots...)
	require.NoError(t, err)
	return k
}

func TestSealedTokensOpenOnlyForTheirPurposeAndBinding(t *testing.T) {
	k := keysOf(t, rootOf(1))
	rapid.Check(t, func(t *rapid.T) {
		purpose, other := rapid.String().Draw(t, "purpose"), rapid.String().Draw(t, "other")
		plain, bind := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "plain"), rapid.SliceOf(rapid.Byte()).Draw(t, "bind")
		token := k.Seal(purpose, plain, bind)
		got, err := k.Open(purpose, token, bind)
		require.NoError(t, err)
		require.True(t, bytes.Equal(plain, got))
		_, err = k.Open(purpose, token, append(bytes.Clone(bind), 0))
		require.True(t, fault.Is(err, pb.ErrorReason_INVALID_PAGE_TOKEN))
		if other != purpose {
			_, err = k.Open(other, token, bind)
			require.Error(t, err)
		}
	})
}

func TestEveryAlterationOfATokenIsRefused(t *testing.T) {
	k := keysOf(t, rootOf(1))
	token := k.Seal("pages", []byte("position 20"), []byte("arguments"))
	alphabet := "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_\n=+/ "
	for i := range token {
		for _, c := range []byte(alphabet) {
			if altered := token[:i] + string(c) + token[i+1:]; altered != token {
				_, err := k.Open("pages", altered, []byte("arguments"))
				require.Error(t, err, altered)
			}
			_, err := k.Open("pages", token[:i]+string(c)+token[i:], []byte("arguments"))
			require.Error(t, err)
		}
		_, err := k.Open("pages", token[:i], []byte("arguments"))
		require.Error(t, err)
	}
	_, err := k.Open("pages", token+"\r\n", []byte("arguments"))
	require.Error(t, err, "a line break is an alteration")
}

func TestRotationRefusesNoToken(t *testing.T) {
	old, next := rootOf(1), rootOf(2)
	steps := []*auth.Keys{keysOf(t, old), keysOf(t, old, next), keysOf(t, next, old)}
	for i, from := range steps {
		for j, to := range steps {
			if j < i-1 || j > i+1 {
				continue // replicas are at most one step apart
			}
			got, err := to.Open("p", from.Seal("p", []byte("x"), nil), nil)
			require.NoError(t, err, "sealed at step %d, opened at step %d", i, j)
			assert.Equal(t, "x", string(got))
		}
	}
	_, err := keysOf(t, next).Open("p", steps[0].Seal("p", []byte("x"), nil), nil)
	assert.Error(t, err, "the old root is gone")
}

func TestRootsAreChecked(t *testing.T) {
	for name, roots := range map[string][][]byte{"none": nil, "short": {make([]byte, 31)}, "twice": {rootOf(1), rootOf(1)}} {
		_, err := auth.NewKeys(roots...)
		assert.Error(t, err, name)
	}
}

func TestKeysOfAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(path, []byte("\n  "+strings.Repeat("a", 40)+"\r\n"+strings.Repeat("b", 40)), 0o600))
	k, err := auth.ReadKeys(path)
	require.NoError(t, err)
	old := keysOf(t, []byte(strings.Repeat("b", 40)))
	_, err = k.Open("p", old.Seal("p", nil, nil), nil)
	assert.NoError(t, err, "the second line opens")
	_, err = old.Open("p", k.Seal("p", nil, nil), nil)
	assert.Error(t, err, "the first line seals")
	require.NoError(t, os.WriteFile(path, []byte("hunter2"), 0o600))
	_, err = auth.ReadKeys(path)
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "hunter2")
	_, err = auth.ReadKeys(path + "x")
	assert.Error(t, err)
}

func TestDerivedKeysDifferByPurposeAndRoot(t *testing.T) {
	a, b := keysOf(t, rootOf(1)), keysOf(t, rootOf(2), rootOf(1))
	assert.Equal(t, a.Derive("x", 32), keysOf(t, rootOf(1), rootOf(2)).Derive("x", 32))
	assert.Len(t, a.Derive("x", 16), 16)
	assert.NotEqual(t, a.Derive("x", 32), a.Derive("y", 32))
	assert.NotEqual(t, a.Derive("x", 32), b.Derive("x", 32))
}

func TestKeysPrintNothing(t *testing.T) {
	k := keysOf(t, []byte("a-secret-of-thirty-two-bytes-long"))
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		assert.Equal(t, "keys(redacted)", fmt.Sprintf(verb, k))
	}
}

func FuzzOpen(f *testing.F) {
	k := keysOf(f, rootOf(1), rootOf(2))
	// Fixed, because the fuzzer's workers are processes of their own; sealed once with these
	// keys, so it also shows that tokens survive a restart.
	const token = "GEkWZrPu6zT64sZRd8wbLqQ_20lCrseoDcGgocdhYWClhunRfVWX2UHkaSosaBxCpw"
	f.Add(token)
	f.Add("")
	f.Add(base64.RawURLEncoding.EncodeToString(make([]byte, 44)))
	f.Fuzz(func(t *testing.T, s string) {
		plain, err := k.Open("p", s, []byte("bind"))
		if s == token {
			require.NoError(t, err)
			return
		}
		require.Nil(t, plain, "a token nobody sealed opened")
		require.True(t, fault.Is(err, pb.ErrorReason_INVALID_PAGE_TOKEN))
	})
}
