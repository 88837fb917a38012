package auth_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/aitheater/theater/internal/auth"
)

func TestKeyRotation(t *testing.T) {
	p := newProvider(t)
	old := p.publish(t, "old", rsaKey(t), jose.RS256)
	o := oidcOf(t, p)
	now := time.Now()
	o.SetNow(func() time.Time { return now })
	first := sign(t, old, p.good(nil))
	_, err := o.Authenticate(t.Context(), bearerOf(first))
	require.NoError(t, err, "keys are fetched for the first token, also before Run")
	next := p.publish(t, "next", rsaKey(t), jose.RS256)
	_, err = o.Authenticate(t.Context(), bearerOf(sign(t, next, p.good(nil))))
	require.NoError(t, err, "and again for a new key, right after")
	p.mu.Lock()
	p.keys = p.keys[1:]
	p.mu.Unlock()
	_, err = o.Authenticate(t.Context(), bearerOf(forged(t, p)))
	assert.Error(t, err)
	_, err = o.Authenticate(t.Context(), bearerOf(first))
	assert.Error(t, err, "a verified token does not outlive its key")
}

// forged is a token that names a key its provider does not have.
func forged(t testing.TB, p *provider) string {
	return sign(t, jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: rsaSecret, KeyID: "forged"}}, p.good(nil))
}

func TestForgedKeysDriveFewFetches(t *testing.T) {
	p := newProvider(t)
	p.publish(t, "k", rsaKey(t), jose.RS256)
	o := oidcOf(t, p)
	now := time.Now()
	o.SetNow(func() time.Time { return now })
	token := bearerOf(forged(t, p))
	attack := func() (fetches int64) {
		before := p.fetches.Load()
		var callers sync.WaitGroup
		for range 8 {
			callers.Go(func() {
				for range 20 {
					_, err := o.Authenticate(t.Context(), token)
					assert.Error(t, err)
				}
			})
		}
		callers.Wait()
		return (p.fetches.Load() - before) / 2 // two documents each
	}
	assert.EqualValues(t, 3, attack(), "a burst")
	assert.Zero(t, attack())
	now = now.Add(10 * time.Second)
	assert.EqualValues(t, 1, attack(), "one in ten seconds")
	next := p.publish(t, "next", rsaKey(t), jose.RS256)
	now = now.Add(10 * time.Second)
	_, err := o.Authenticate(t.Context(), bearerOf(sign(t, next, p.good(nil))))
	assert.NoError(t, err, "a new key comes through under attack")
	now = now.Add(time.Hour)
	assert.EqualValues(t, 3, attack(), "quiet earns no more than the burst")
}

// A provider that takes connections and says nothing, as behind a firewall that drops.
func TestASilentProviderHoldsNobodyPastTheirDeadline(t *testing.T) {
	p := newProvider(t)
	key := p.publish(t, "k", rsaKey(t), jose.RS256)
	o := oidcOf(t, p)
	good := bearerOf(sign(t, key, p.good(nil)))
	_, err := o.Authenticate(t.Context(), good)
	require.NoError(t, err)
	p.mu.Lock() // every answer waits for it
	token := bearerOf(forged(t, p))
	var callers sync.WaitGroup
	began := time.Now()
	for range 5 {
		callers.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			_, err := o.Authenticate(ctx, token)
			assert.Error(t, err)
		})
	}
	callers.Wait()
	assert.Less(t, time.Since(began), 3*time.Second)
	_, err = o.Authenticate(t.Context(), good)
	assert.NoError(t, err, "keys known go on meanwhile")

	// Nor does it hold the service when that stops.
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx) }()
	cancel()
	require.NoError(t, <-done)
	assert.Less(t, time.Since(began), 4*time.Second)
	p.mu.Unlock()
}

func TestKnownKeysLastADayWithoutTheProvider(t *testing.T) {
	p := newProvider(t)
	key := p.publish(t, "k", rsaKey(t), jose.RS256)
	o := oidcOf(t, p)
	now := time.Now()
	o.SetNow(func() time.Time { return now })
	token := sign(t, key, p.good(claims{"exp": now.Add(72 * time.Hour).Unix()}))
	assert.False(t, o.Healthy(), "nothing is known yet")
	_, err := o.Authenticate(t.Context(), bearerOf(token))
	require.NoError(t, err)
	assert.True(t, o.Healthy())
	p.down.Store(true)
	now = now.Add(24*time.Hour - time.Minute)
	_, err = o.Authenticate(t.Context(), bearerOf(token))
	assert.NoError(t, err)
	now = now.Add(2 * time.Minute)
	_, err = o.Authenticate(t.Context(), bearerOf(token))
	assert.ErrorContains(t, err, "keys are not known")
	assert.False(t, o.Healthy())
	p.down.Store(false)
	now = now.Add(time.Minute)
	_, err = o.Authenticate(t.Context(), bearerOf(token))
	assert.NoError(t, err, "and it recovers by itself")
	assert.True(t, o.Healthy())
}

func TestBadProvidersAreNotBelieved(t *testing.T) {
	for name, spoil := range map[string]func(*provider){
		"calls itself another": func(p *provider) { p.issuer = "https://evil.example" },
		"publishes no key":     func(p *provider) { p.keys = nil },
		"publishes a secret": func(p *provider) {
			p.keys = []jose.JSONWebKey{{Key: []byte("secret-secret-secret-secret-secret"), KeyID: "k"}}
		},
	} {
		p := newProvider(t)
		key := p.publish(t, "k", rsaKey(t), jose.RS256)
		spoil(p)
		_, err := oidcOf(t, p).Authenticate(t.Context(), bearerOf(sign(t, key, p.good(nil))))
		assert.ErrorContains(t, err, "keys are not known", name)
	}
	for _, c := range []auth.OIDCConfig{{Issuer: "http://idp.example", Audience: "a"}, {Issuer: "x", Audience: "a"}, {Issuer: "https://idp.example"}} {
		_, err := auth.NewOIDC(c)
		assert.Error(t, err, c.Issuer)
	}
}
