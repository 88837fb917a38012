package auth_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/fault"
)

// provider is an identity provider: real discovery, real keys.
type provider struct {
	*httptest.Server
	mu      sync.Mutex
	keys    []jose.JSONWebKey
	issuer  string // what it calls itself
	down    atomic.Bool
	fetches atomic.Int64
}

func newProvider(t testing.TB) *provider {
	p := &provider{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.fetches.Add(1)
		if p.down.Load() {
			http.Error(w, "down", http.StatusBadGateway)
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		var answer any = map[string]any{"issuer": p.issuer, "jwks_uri": p.URL + "/keys"}
		if r.URL.Path == "/keys" {
			answer = jose.JSONWebKeySet{Keys: p.keys}
		}
		_ = json.NewEncoder(w).Encode(answer)
	}))
	t.Cleanup(p.Close)
	p.issuer = p.URL
	return p
}

// publish adds a key and gives it with its secret.
func (p *provider) publish(t testing.TB, id string, secret crypto.Signer, alg jose.SignatureAlgorithm) jose.SigningKey {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = append(p.keys, jose.JSONWebKey{Key: secret.Public(), KeyID: id, Algorithm: string(alg), Use: "sig"})
	return jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: secret, KeyID: id}}
}

func sign(t testing.TB, key jose.SigningKey, claims any, headers ...any) string {
	t.Helper()
	options := (&jose.SignerOptions{}).WithType("at+jwt")
	for i := 0; i < len(headers); i += 2 {
		options = options.WithHeader(jose.HeaderKey(headers[i].(string)), headers[i+1])
	}
	signer, err := jose.NewSigner(key, options)
	require.NoError(t, err)
	body, err := json.Marshal(claims)
	require.NoError(t, err)
	signed, err := signer.Sign(body)
	require.NoError(t, err)
	token, err := signed.CompactSerialize()
	require.NoError(t, err)
	return token
}

type claims map[string]any

// good are the claims of a valid token; changes are laid over, nil removes.
func (p *provider) good(changes claims) claims {
	now := time.Now().Unix()
	c := claims{"iss": p.URL, "aud": "theater", "sub": "user|1", "exp": now + 600, "iat": now, "nbf": now, "theater_role": []string{"VIEWER"}}
	for k, v := range changes {
		if v == nil {
			delete(c, k)
		} else {
			c[k] = v
		}
	}
	return c
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// oidcOf runs an authenticator against the provider.
func oidcOf(t testing.TB, p *provider) *auth.OIDC {
	t.Helper()
	o, err := auth.NewOIDC(auth.OIDCConfig{Issuer: p.URL, Audience: "theater", Logger: quiet()})
	require.NoError(t, err)
	return o
}

func run(t testing.TB, o *auth.OIDC) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx) }()
	t.Cleanup(func() { cancel(); require.NoError(t, <-done) })
}

func bearerOf(token string) auth.Credentials { return auth.Credentials{Bearer: token} }

func rsaKey(t testing.TB) *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	return k
}

func TestTokensOfTheProvider(t *testing.T) {
	p := newProvider(t)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	signers := []jose.SigningKey{p.publish(t, "rsa", rsaKey(t), jose.RS256), p.publish(t, "ec", ec, jose.ES256), p.publish(t, "ed", ed, jose.EdDSA)}
	o := oidcOf(t, p)
	run(t, o)
	for _, s := range signers {
		caller, err := o.Authenticate(t.Context(), bearerOf(sign(t, s, p.good(claims{
			"theater_role": "EDITOR PUBLISHER", "theater_markets": []string{"CN"}, "theater_age_band": "AGE_8",
			"aud": []string{"other", "theater"},
		}))))
		require.NoError(t, err, s.Algorithm)
		assert.Equal(t, &auth.Caller{ID: "user|1", Roles: 1<<pb.Access_EDITOR | 1<<pb.Access_PUBLISHER, Markets: []string{"CN"}, AgeBand: pb.Film_AGE_8, Audience: pb.Viewer_KIDS}, caller)
	}
	for _, markets := range []any{"US,CN", "US, CN", "US CN", []string{"US", "CN"}} {
		caller, err := o.Authenticate(t.Context(), bearerOf(sign(t, signers[0], p.good(claims{"theater_markets": markets}))))
		require.NoError(t, err)
		assert.Equal(t, []string{"US", "CN"}, caller.Markets)
	}
	caller, err := o.Authenticate(t.Context(), bearerOf(sign(t, signers[0], p.good(claims{"sub": "Jo Ann\n"}))))
	require.NoError(t, err)
	assert.Regexp(t, "^sha256:", caller.ID, "a subject unfit for logs")
	caller, err = o.Authenticate(t.Context(), auth.Credentials{})
	require.NoError(t, err)
	assert.Zero(t, caller.Roles)
}

// TestForgedTokensAreRefused is the corpus: each entry is a way in that once worked
// somewhere.
func TestForgedTokensAreRefused(t *testing.T) {
	p := newProvider(t)
	real, other := rsaKey(t), rsaKey(t)
	key := p.publish(t, "k1", real, jose.RS256)
	encryption := rsaKey(t)
	p.keys = append(p.keys, jose.JSONWebKey{Key: encryption.Public(), KeyID: "enc", Use: "enc"})
	o := oidcOf(t, p)
	run(t, o)
	now := time.Now().Unix()
	valid := sign(t, key, p.good(nil))
	_, err := o.Authenticate(t.Context(), bearerOf(valid))
	require.NoError(t, err)
	parts := strings.Split(valid, ".")
	b64 := base64.RawURLEncoding.EncodeToString
	public, err := json.Marshal(jose.JSONWebKey{Key: real.Public(), KeyID: "k1"})
	require.NoError(t, err)
	hmacWith := func(secret []byte) string {
		return sign(t, jose.SigningKey{Algorithm: jose.HS256, Key: jose.JSONWebKey{Key: secret, KeyID: "k1"}}, p.good(nil))
	}
	forgedBy := func(id string, headers ...any) string {
		return sign(t, jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: other, KeyID: id}}, p.good(nil), headers...)
	}
	attacker := newProvider(t)
	attacker.publish(t, "k1", other, jose.RS256)
	own, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: other}, &jose.SignerOptions{EmbedJWK: true})
	require.NoError(t, err)
	body, err := json.Marshal(p.good(nil))
	require.NoError(t, err)
	embedded, err := own.Sign(body)
	require.NoError(t, err)
	embeddedToken, err := embedded.CompactSerialize()
	require.NoError(t, err)
	jsonForm := func() string {
		s, err := jose.NewSigner(key, nil)
		require.NoError(t, err)
		j, err := s.Sign(body)
		require.NoError(t, err)
		return j.FullSerialize()
	}()
	for name, token := range map[string]string{
		"alg none":                 b64([]byte(`{"alg":"none","kid":"k1"}`)) + "." + parts[1] + ".",
		"alg None":                 b64([]byte(`{"alg":"None","kid":"k1"}`)) + "." + parts[1] + "." + parts[2],
		"HMAC with the public key": hmacWith(public),
		"HMAC with the modulus":    hmacWith(real.N.Bytes()),
		"another key, known id":    forgedBy("k1"),
		"another key, unknown id":  forgedBy("k2"),
		"another key, no id":       forgedBy(""),
		"an id that is a path":     forgedBy("../../etc/passwd"),
		"key set elsewhere":        forgedBy("k1", "jku", attacker.URL+"/keys"),
		"certificate elsewhere":    forgedBy("k1", "x5u", attacker.URL+"/keys"),
		"brings its own key":       embeddedToken,
		"the key for encryption":   sign(t, jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: encryption, KeyID: "enc"}}, p.good(nil)),
		"another algorithm":        sign(t, jose.SigningKey{Algorithm: jose.RS512, Key: jose.JSONWebKey{Key: real, KeyID: "k1"}}, p.good(nil)),
		"no signature":             parts[0] + "." + parts[1] + ".",
		"signature of another":     parts[0] + "." + b64([]byte(`{"iss":"x"}`)) + "." + parts[2],
		"truncated":                valid[:len(valid)-4],
		"JSON serialization":       jsonForm,
		"two dots":                 "..",
		"nothing of a JWT":         "hello",
		"huge":                     strings.Repeat("a", 1<<20) + "." + parts[1] + "." + parts[2],
		"another issuer":           sign(t, key, p.good(claims{"iss": attacker.URL})),
		"issuer with a slash":      sign(t, key, p.good(claims{"iss": p.URL + "/"})),
		"no issuer":                sign(t, key, p.good(claims{"iss": nil})),
		"for another service":      sign(t, key, p.good(claims{"aud": "billing"})),
		"for a longer name":        sign(t, key, p.good(claims{"aud": "theater2"})),
		"for nobody":               sign(t, key, p.good(claims{"aud": nil})),
		"expired 31 s ago":         sign(t, key, p.good(claims{"exp": now - 31})),
		"never expires":            sign(t, key, p.good(claims{"exp": nil})),
		"not yet for a minute":     sign(t, key, p.good(claims{"nbf": now + 60})),
		"issued in the future":     sign(t, key, p.good(claims{"iat": now + 60})),
		"issued a fraction late":   sign(t, key, p.good(claims{"iat": float64(now) + 60.5})),
		"issued beyond an int64":   sign(t, key, p.good(claims{"iat": 1e300})),
		"issued beyond a float64":  sign(t, key, p.good(claims{"iat": json.RawMessage("1e400")})),
		"not yet, beyond an int64": sign(t, key, p.good(claims{"nbf": json.RawMessage("9223372036854775808")})),
		"issued in words":          sign(t, key, p.good(claims{"iat": "today"})),
		"no subject":               sign(t, key, p.good(claims{"sub": nil})),
		"no role":                  sign(t, key, p.good(claims{"theater_role": nil})),
		"a role that is none":      sign(t, key, p.good(claims{"theater_role": "ROOT"})),
		"role zero":                sign(t, key, p.good(claims{"theater_role": "ROLE_UNSPECIFIED"})),
		"role of another type":     sign(t, key, p.good(claims{"theater_role": 6})),
		"role in another case":     sign(t, key, p.good(claims{"theater_role": "admin"})),
		"an audience that is none": sign(t, key, p.good(claims{"theater_audience": "EVERYONE"})),
		"a band that is none":      sign(t, key, p.good(claims{"theater_age_band": "AGE_99"})),
		"children of eighteen":     sign(t, key, p.good(claims{"theater_audience": "KIDS", "theater_age_band": "AGE_18"})),
		"a market that is none":    sign(t, key, p.good(claims{"theater_markets": []string{"*"}})),
		"markets, but none":        sign(t, key, p.good(claims{"theater_markets": []string{}})),
		"markets in no words":      sign(t, key, p.good(claims{"theater_markets": ""})),
		"markets of white space":   sign(t, key, p.good(claims{"theater_markets": " , "})),
		"markets null":             sign(t, key, p.good(claims{"theater_markets": json.RawMessage("null")})),
		"a market without name":    sign(t, key, p.good(claims{"theater_markets": []string{""}})),
		"markets of another type":  sign(t, key, p.good(claims{"theater_markets": 6})),
		"an empty audience":        sign(t, key, p.good(claims{"theater_audience": ""})),
		"audience null":            sign(t, key, p.good(claims{"theater_audience": json.RawMessage("null")})),
		"two audiences":            sign(t, key, p.good(claims{"theater_audience": []string{"KIDS", "ADULT"}})),
		"an empty band":            sign(t, key, p.good(claims{"theater_age_band": []string{""}})),
		"a logout token":           sign(t, key, p.good(nil), "typ", "logout+jwt"),
		"critical header":          sign(t, key, p.good(nil), "crit", []string{"x"}, "x", 1),
	} {
		t.Run(name, func(t *testing.T) {
			caller, err := o.Authenticate(t.Context(), bearerOf(token))
			require.Nil(t, caller)
			require.True(t, fault.Is(err, pb.ErrorReason_UNAUTHENTICATED), "%v", err)
			assert.NotContains(t, err.Error(), "user|1", "nothing of the token is repeated")
		})
	}
	assert.Zero(t, attacker.fetches.Load(), "a token steered a fetch")
	for name, token := range map[string]string{
		"expired within the leeway": sign(t, key, p.good(claims{"exp": now - 20})),
		"early within the leeway":   sign(t, key, p.good(claims{"nbf": now + 20, "iat": now + 20})),
		"times with a fraction":     sign(t, key, p.good(claims{"nbf": float64(now) + .25, "iat": float64(now) + .5, "exp": float64(now) + 600.5})),
		"times with a zero behind":  sign(t, key, p.good(claims{"nbf": json.RawMessage("1764142234.0"), "iat": json.RawMessage("1764142234.0")})),
		"times with an exponent":    sign(t, key, p.good(claims{"iat": json.RawMessage("1.7e9")})),
		"no times but the end":      sign(t, key, p.good(claims{"nbf": nil, "iat": nil})),
	} {
		_, err := o.Authenticate(t.Context(), bearerOf(token))
		assert.NoError(t, err, name)
	}
}

var rsaSecret = func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
}()

func TestAVerifiedTokenEndsWithItsExpiry(t *testing.T) {
	p := newProvider(t)
	key := p.publish(t, "k", rsaKey(t), jose.RS256)
	o := oidcOf(t, p)
	now := time.Now()
	o.SetNow(func() time.Time { return now })
	token := sign(t, key, p.good(claims{"exp": now.Add(10 * time.Second).Unix()}))
	_, err := o.Authenticate(t.Context(), bearerOf(token))
	require.NoError(t, err)
	now = now.Add(45 * time.Second)
	_, err = o.Authenticate(t.Context(), bearerOf(token))
	assert.ErrorContains(t, err, "expired")
}

func TestMintedTokens(t *testing.T) {
	k := keysOf(t, rootOf(1))
	c := auth.Claims{ID: "kids-app", Roles: []string{"VIEWER"}, AgeBand: "AGE_8", Markets: []string{"CN"}}
	token, err := auth.Mint(k, c, time.Second)
	require.NoError(t, err)
	all := auth.AnyOf{auth.Minted{Keys: k}, &auth.Static{}}
	caller, err := all.Authenticate(t.Context(), bearerOf(token))
	require.NoError(t, err)
	assert.Equal(t, &auth.Caller{ID: "kids-app", Roles: 1 << pb.Access_VIEWER, Audience: pb.Viewer_KIDS, AgeBand: pb.Film_AGE_8, Markets: []string{"CN"}}, caller)
	_, err = auth.Minted{Keys: keysOf(t, rootOf(2))}.Authenticate(t.Context(), bearerOf(token))
	assert.Error(t, err, "of another house")
	_, err = auth.Minted{Keys: k}.Authenticate(t.Context(), bearerOf("theater."+k.Seal("pages", []byte(`{}`), nil)))
	assert.Error(t, err, "a page token is no credential")
	assert.Eventually(t, func() bool { _, err := all.Authenticate(t.Context(), bearerOf(token)); return err != nil }, 30*time.Second, 50*time.Millisecond, "it expires")
	for _, ttl := range []time.Duration{0, -1, 400 * 24 * time.Hour} {
		_, err := auth.Mint(k, c, ttl)
		assert.Error(t, err)
	}
	_, err = auth.Mint(k, auth.Claims{ID: "x", Roles: []string{"KING"}}, time.Hour)
	assert.Error(t, err)
	nobody, err := all.Authenticate(t.Context(), auth.Credentials{})
	require.NoError(t, err)
	assert.Zero(t, nobody.Roles)
}

func TestTheOneWhoRecognisesATokenSaysWhyItIsRefused(t *testing.T) {
	p := newProvider(t)
	key := p.publish(t, "k", rsaKey(t), jose.RS256)
	k := keysOf(t, rootOf(1))
	minted, err := auth.Mint(k, auth.Claims{ID: "x", Roles: []string{"VIEWER"}}, time.Nanosecond)
	require.NoError(t, err)
	static, err := auth.ParseStatic([]byte(`{
		"` + webKey + `": {"id": "web", "roles": ["VIEWER"]},
		"a-key-of-last-year": {"id": "old", "roles": ["VIEWER"], "expires": "2020-01-01T00:00:00Z"}}`))
	require.NoError(t, err)
	o := oidcOf(t, p)
	for _, all := range []auth.AnyOf{{auth.Minted{Keys: k}, o, static}, {static, o, auth.Minted{Keys: k}}} {
		for token, says := range map[string]string{
			minted:                                 "the token has expired",
			"a-key-of-last-year":                   "the key has expired",
			sign(t, key, p.good(claims{"exp": 1})): "the token has expired",
			sign(t, key, p.good(claims{"aud": "billing"})): "the token is not valid here",
			"a-key-of-nobodys": "unknown",
		} {
			_, err := all.Authenticate(t.Context(), bearerOf(token))
			assert.ErrorContains(t, err, says, token)
		}
		for _, token := range []string{webKey, sign(t, key, p.good(nil))} {
			caller, err := all.Authenticate(t.Context(), bearerOf(token))
			require.NoError(t, err)
			assert.True(t, caller.Has(pb.Access_VIEWER))
		}
	}
}

func FuzzAuthenticateOIDC(f *testing.F) {
	p := newProvider(f)
	key := p.publish(f, "k", rsaSecret, jose.RS256)
	o := oidcOf(f, p)
	f.Add(sign(f, key, p.good(claims{"aud": "other"})))
	f.Add("e30.e30.")
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		caller, err := o.Authenticate(t.Context(), bearerOf(token))
		if token == "" {
			require.NoError(t, err)
			require.Zero(t, caller.Roles)
			return
		}
		require.True(t, fault.Is(err, pb.ErrorReason_UNAUTHENTICATED))
	})
}
