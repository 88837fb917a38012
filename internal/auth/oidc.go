package auth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"github.com/maypok86/otter/v2"
)

const (
	// maxJWT bounds what is parsed at all.
	maxJWT = 8 << 10
	// leeway is how far the provider's clock may be off.
	leeway = 30 * time.Second
	// trusted is how long a verified token is not verified again: verification costs more
	// than most requests.
	trusted = 60 * time.Second
	// cachedTokens bounds the cache of verified tokens.
	cachedTokens = 20_000
)

// algorithms a token may be signed with: asymmetric ones only, because a provider's public
// key must never pass for a shared secret.
var algorithms = []string{oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA}

// OIDCConfig names the provider whose access tokens are taken.
type OIDCConfig struct {
	// Issuer is the provider's URL, https but on loopback; what it publishes under
	// /.well-known/openid-configuration must name the same issuer.
	Issuer string
	// Audience is the name this service has at the provider; tokens for others are refused.
	Audience string
	// Logger; optional.
	Logger *slog.Logger
}

// Validate says what is wrong with the settings, beginning with the field's name.
func (c *OIDCConfig) Validate() error {
	if err := checkURL(c.Issuer); err != nil {
		return fmt.Errorf("issuer: %w", err)
	}
	if c.Audience == "" {
		return errors.New("audience: required, because without it the tokens of every other service would do")
	}
	return nil
}

// OIDC takes JWT access tokens (RFC 9068) of one provider. The claims theater_role (a name
// or a list), theater_audience, theater_age_band and theater_markets say what the caller may
// do; a token without a role of ours is nobody's.
type OIDC struct {
	keys     *providerKeys
	verifier *oidc.IDTokenVerifier
	verified *otter.Cache[[sha256.Size]byte, verified]
}

// verified is a token that held at some moment.
type verified struct {
	caller *Caller
	// until is when it must be verified again, and under which set of keys it was.
	until time.Time
	set   uint64
}

// NewOIDC makes an authenticator; it reaches the provider in Run, so a provider that is away
// does not keep the service from starting, only callers from entering.
func NewOIDC(c OIDCConfig) (*OIDC, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	keys := newProviderKeys(c.Issuer, c.Logger)
	cache, err := otter.New(&otter.Options[[sha256.Size]byte, verified]{MaximumSize: cachedTokens})
	if err != nil {
		return nil, err
	}
	return &OIDC{keys: keys, verified: cache, verifier: oidc.NewVerifier(c.Issuer, keys, &oidc.Config{
		ClientID: c.Audience, SupportedSigningAlgs: algorithms,
		Now: func() time.Time { return keys.now().Add(-leeway) },
	})}, nil
}

// Run keeps the provider's keys fresh until ctx ends.
func (o *OIDC) Run(ctx context.Context) error { return o.keys.run(ctx) }

// Healthy reports whether the provider's keys are known and the last fetch of them succeeded.
// While it does not, keys known go on for a day.
func (o *OIDC) Healthy() bool { return o.keys.current() != nil && !o.keys.failing.Load() }

// Authenticate implements Authenticator.
func (o *OIDC) Authenticate(ctx context.Context, c Credentials) (*Caller, error) {
	if c.Bearer == "" {
		return nobody, nil
	}
	if len(c.Bearer) > maxJWT || strings.Count(c.Bearer, ".") != 2 {
		return nil, errNoJWT
	}
	hash := sha256.Sum256([]byte(c.Bearer))
	now := o.keys.now()
	if v, ok := o.verified.GetIfPresent(hash); ok && now.Before(v.until) && v.set == o.keys.generation() {
		return v.caller, nil
	}
	set := o.keys.generation()
	token, err := o.verifier.Verify(ctx, c.Bearer)
	if err != nil {
		if o.keys.current() == nil {
			return nil, Unauthenticated("the provider's keys are not known at present")
		}
		return nil, refused(err)
	}
	caller, err := callerOf(token, now)
	if err != nil {
		return nil, refused(err)
	}
	until := now.Add(trusted)
	if end := token.Expiry.Add(leeway); end.Before(until) {
		until = end
	}
	// The set of before the verification: if keys were fetched meanwhile, verify once more.
	o.verified.Set(hash, verified{caller, until, set})
	return caller, nil
}

// refused keeps what the library says, which may quote the token, out of the answer.
func refused(err error) error {
	var expired *oidc.TokenExpiredError
	if errors.As(err, &expired) {
		return Unauthenticated("the token has expired")
	}
	return Unauthenticated("the token is not valid here")
}

// claims are those the library leaves to us. Times are seconds since 1970, with or without a
// fraction (NumericDate of RFC 7519); absent ones are 0.
type claims struct {
	NotBefore float64         `json:"nbf"`
	IssuedAt  float64         `json:"iat"`
	Role      json.RawMessage `json:"theater_role"`
	Audience  json.RawMessage `json:"theater_audience"`
	AgeBand   json.RawMessage `json:"theater_age_band"`
	Markets   json.RawMessage `json:"theater_markets"`
}

func callerOf(token *oidc.IDToken, now time.Time) (*Caller, error) {
	var c claims
	if err := token.Claims(&c); err != nil {
		return nil, err
	}
	// The library lets tokens in five minutes early. Compared as they come: no claim is too
	// large for that, and what is too large for a float64 does not parse.
	if max(c.NotBefore, c.IssuedAt) > float64(now.Add(leeway).UnixMilli())/1000 {
		return nil, errors.New("the token is of the future")
	}
	if token.Subject == "" {
		return nil, errors.New("the token has no subject")
	}
	p := Claims{ID: token.Subject}
	if !idForm.MatchString(p.ID) {
		sum := sha256.Sum256([]byte(p.ID))
		p.ID = "sha256:" + hex.EncodeToString(sum[:])
	}
	var err error
	if p.Roles, err = oneOrMore(c.Role); err != nil {
		return nil, err
	}
	if p.Markets, err = oneOrMore(c.Markets); err != nil {
		return nil, err
	}
	if p.Audience, err = one(c.Audience); err != nil {
		return nil, err
	}
	if p.AgeBand, err = one(c.AgeBand); err != nil {
		return nil, err
	}
	return p.caller()
}

// oneOrMore reads a claim that providers write as a string, as words, with commas or as a
// list; nil when the token does not have it. One that is there and empty is an error: absent
// claims set no bounds, and a provider that meant to set some must not set none.
func oneOrMore(raw json.RawMessage) (list []string, err error) {
	if raw == nil {
		return nil, nil
	}
	if raw[0] == '"' {
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			return nil, err
		}
		list = strings.FieldsFunc(text, func(r rune) bool { return r == ',' || unicode.IsSpace(r) })
	} else if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("a claim is neither a string nor a list of them: %w", err)
	}
	if len(list) == 0 {
		return nil, errors.New("a claim is empty")
	}
	return list, nil
}

// one reads a claim of one value.
func one(raw json.RawMessage) (string, error) {
	list, err := oneOrMore(raw)
	if err != nil || list == nil {
		return "", err
	}
	if len(list) > 1 || list[0] == "" {
		return "", errors.New("a claim has not one value")
	}
	return list[0], nil
}

// checkHeader refuses headers that would let a token choose its own key, and token types
// that are no access tokens. Nothing is ever fetched from an address a token names.
func checkHeader(h jose.Header) error {
	if h.JSONWebKey != nil {
		return errors.New("the token brings its own key")
	}
	for _, name := range []jose.HeaderKey{"jku", "x5u", "x5c"} {
		if _, ok := h.ExtraHeaders[name]; ok {
			return fmt.Errorf("the token says where its key is (%s)", name)
		}
	}
	switch typ, _ := h.ExtraHeaders[jose.HeaderType].(string); strings.ToLower(typ) {
	case "", "jwt", "at+jwt", "application/at+jwt":
		return nil
	}
	return errors.New("not an access token")
}
