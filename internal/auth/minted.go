package auth

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"
)

// mintedPrefix begins the tokens of Mint, so that they are told from others by a look.
const mintedPrefix = "theater."

// maxTTL is the longest a token of ours may live: there is no list of revoked ones.
const maxTTL = 366 * 24 * time.Hour

// Claims are what a token or an entry of a static file says of its bearer.
type Claims struct {
	ID       string   `json:"id"`
	Roles    []string `json:"roles"`
	Audience string   `json:"audience,omitempty"`
	AgeBand  string   `json:"age_band,omitempty"`
	Markets  []string `json:"markets,omitempty"`
}

type minted struct {
	Claims
	Expires int64 `json:"exp"`
}

// Mint makes a token for a caller that holds until ttl from now. It is sealed with the root
// secret, so every replica takes it and nobody else can read or make one.
func Mint(k *Keys, c Claims, ttl time.Duration) (string, error) {
	if ttl <= 0 || ttl > maxTTL {
		return "", errors.New("ttl: from 1s to 366 days")
	}
	if _, err := c.caller(); err != nil {
		return "", err
	}
	b, err := json.Marshal(minted{c, time.Now().Add(ttl).Unix()})
	if err != nil {
		return "", err
	}
	return mintedPrefix + k.Seal("caller", b, nil), nil
}

// The refusals of those who do not recognise a token. Each is one value, because AnyOf meets
// them with every call whose token is another's.
var (
	errForeign = Unauthenticated("unknown token")
	errNoKey   = Unauthenticated("unknown key")
	errNoJWT   = Unauthenticated("not a token of this service's provider")
)

func unrecognised(err error) bool {
	return errors.Is(err, errForeign) || errors.Is(err, errNoKey) || errors.Is(err, errNoJWT)
}

// Minted takes tokens of Mint; everything else is unknown to it.
type Minted struct{ Keys *Keys }

// Authenticate implements Authenticator.
func (m Minted) Authenticate(_ context.Context, c Credentials) (*Caller, error) {
	if c.Bearer == "" {
		return nobody, nil
	}
	token, ours := strings.CutPrefix(c.Bearer, mintedPrefix)
	if !ours {
		return nil, errForeign
	}
	b, err := m.Keys.Open("caller", token, nil)
	if err != nil {
		return nil, Unauthenticated("the token is not valid here")
	}
	var t minted
	if err := json.Unmarshal(b, &t); err != nil {
		return nil, Unauthenticated("the token is not valid here")
	}
	if time.Now().Unix() >= t.Expires {
		return nil, Unauthenticated("the token has expired")
	}
	caller, err := t.caller()
	if err != nil {
		return nil, Unauthenticated("the token is not valid here")
	}
	return caller, nil
}

// AnyOf asks several authenticators: the first to know the caller decides. Credentials that
// none of them knows are refused, in the words of the first to recognise them.
type AnyOf []Authenticator

// Authenticate implements Authenticator.
func (a AnyOf) Authenticate(ctx context.Context, c Credentials) (*Caller, error) {
	var refusal error
	for _, one := range a {
		caller, err := one.Authenticate(ctx, c)
		switch {
		case err != nil:
			if refusal == nil || unrecognised(refusal) {
				refusal = err
			}
		case caller.Roles != 0:
			return caller, nil
		}
	}
	if refusal != nil {
		return nil, refusal
	}
	return nobody, nil
}

// IsOpen reports whether an authenticator lets everyone in.
func IsOpen(a Authenticator) bool {
	switch a := a.(type) {
	case Open:
		return true
	case AnyOf:
		return slices.ContainsFunc(a, IsOpen)
	}
	return false
}
