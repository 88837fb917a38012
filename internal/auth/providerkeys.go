package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

const (
	// refreshEvery is how often keys are fetched, retryEvery how often after a failure.
	refreshEvery = 5 * time.Minute
	retryEvery   = 5 * time.Second
	// nudgeEvery is how often tokens with an unknown key may cause a fetch in the long run:
	// forged ones must not drive requests to the provider. nudgeBurst of them may come at
	// once, because a provider that begins with a new key may have been asked just before.
	nudgeEvery = 10 * time.Second
	nudgeBurst = 3
	// keysLast is how long keys are believed while the provider does not answer.
	keysLast = 24 * time.Hour
	// fetchLimit bounds one fetch, maxDocument each of the two documents of it.
	fetchLimit  = 5 * time.Second
	maxDocument = 1 << 20
)

var (
	errNoKeys     = errors.New("the provider's keys are not known")
	errUnknownKey = errors.New("the token is signed with a key the provider does not publish")
)

// providerKeys are the public keys a provider publishes. It is an oidc.KeySet.
//
// The library's own remote key set asks the provider whenever a token names a key it does
// not know, as often as someone forges one, and forgets nothing while the provider is away.
type providerKeys struct {
	issuer string
	client *http.Client
	log    *slog.Logger
	now    func() time.Time

	set     atomic.Pointer[keySet]
	failing atomic.Bool // the last fetch failed

	// life ends with run, and every fetch with it.
	life context.Context
	end  context.CancelFunc

	mu sync.Mutex // guards what follows, and is never held while anyone waits
	// underway is the fetch that goes on; nil = none.
	underway *fetching
	fetches  sync.WaitGroup
	// paid is the time up to which nudges are paid for, at nudgeEvery each.
	paid time.Time
}

// fetching is a fetch that anyone may wait for.
type fetching struct {
	done chan struct{}
	err  error // to be read once done is closed
}

// keySet is what a provider published at a time; it never changes.
type keySet struct {
	keys    jose.JSONWebKeySet
	text    string
	fetched atomic.Int64 // when it was last confirmed, in Unix seconds
	number  uint64
}

func newProviderKeys(issuer string, log *slog.Logger) *providerKeys {
	life, end := context.WithCancel(context.Background())
	return &providerKeys{issuer: issuer, log: log, now: time.Now, life: life, end: end, client: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return errors.New("a provider's documents do not redirect")
		},
	}}
}

// checkURL takes https, and http on loopback.
func checkURL(s string) error {
	u, err := url.Parse(s)
	if err != nil {
		return err
	}
	ip := net.ParseIP(u.Hostname())
	local := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	if u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !local) {
		return fmt.Errorf("%q is not an https URL, nor http on loopback", s)
	}
	return nil
}

// run fetches now and then until ctx ends; after it nothing is fetched.
func (p *providerKeys) run(ctx context.Context) error {
	defer p.client.CloseIdleConnections()
	defer p.stop()
	for {
		wait := refreshEvery
		f := p.fetch(false)
		select {
		case <-ctx.Done():
			return nil
		case <-f.done:
			if f.err != nil {
				wait = retryEvery
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// stop ends the fetch that goes on, and waits for it.
func (p *providerKeys) stop() {
	p.mu.Lock()
	p.end()
	p.mu.Unlock()
	p.fetches.Wait()
}

// generation changes whenever the keys do, and when they are no longer believed.
func (p *providerKeys) generation() uint64 {
	if s := p.current(); s != nil {
		return s.number
	}
	return 0
}

func (p *providerKeys) current() *keySet {
	s := p.set.Load()
	if s == nil || p.now().Sub(time.Unix(s.fetched.Load(), 0)) > keysLast {
		return nil
	}
	return s
}

// VerifySignature implements oidc.KeySet.
func (p *providerKeys) VerifySignature(ctx context.Context, jwt string) ([]byte, error) {
	names := make([]jose.SignatureAlgorithm, len(algorithms))
	for i, a := range algorithms {
		names[i] = jose.SignatureAlgorithm(a)
	}
	jws, err := jose.ParseSignedCompact(jwt, names)
	if err != nil {
		return nil, err
	}
	header := jws.Signatures[0].Protected
	if err := checkHeader(header); err != nil {
		return nil, err
	}
	before := p.generation()
	payload, err := p.verify(jws, header)
	if !errors.Is(err, errUnknownKey) && !errors.Is(err, errNoKeys) {
		return payload, err
	}
	// A provider may have begun to sign with a new key since the last fetch.
	if !p.nudge(ctx, before) {
		return nil, err
	}
	return p.verify(jws, header)
}

func (p *providerKeys) verify(jws *jose.JSONWebSignature, header jose.Header) ([]byte, error) {
	set := p.current()
	if set == nil {
		return nil, errNoKeys
	}
	err := errUnknownKey
	for _, key := range set.keys.Keys {
		if key.KeyID != header.KeyID || key.Use != "" && key.Use != "sig" || key.Algorithm != "" && key.Algorithm != header.Algorithm {
			continue
		}
		var payload []byte
		if payload, err = jws.Verify(key); err == nil {
			return payload, nil
		}
	}
	return nil, err
}

// nudge waits for a fetch, unless there were too many; it reports whether there may be other
// keys than those of the generation before. The fetch does not end with the caller that began
// it, because others wait for it too, but no caller waits longer than its ctx.
func (p *providerKeys) nudge(ctx context.Context, before uint64) bool {
	if p.generation() != before {
		return true
	}
	f := p.fetch(true)
	if f == nil {
		return false
	}
	select {
	case <-f.done:
		return f.err == nil
	case <-ctx.Done():
		return false
	}
}

// fetch begins a fetch, or gives the one that goes on. It gives nil after run, and for a
// nudge where there were too many.
func (p *providerKeys) fetch(nudged bool) *fetching {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.life.Err() != nil:
		return nil
	case p.underway != nil:
		return p.underway
	case nudged && !p.pay():
		return nil
	}
	f := &fetching{done: make(chan struct{})}
	p.underway = f
	p.fetches.Go(func() {
		f.err = p.read(p.life)
		p.failing.Store(f.err != nil)
		if f.err != nil && p.life.Err() == nil {
			p.log.Warn("the identity provider's keys cannot be fetched", "issuer", p.issuer, "error", f.err)
		}
		p.mu.Lock()
		p.underway = nil
		p.mu.Unlock()
		close(f.done)
	})
	return f
}

// pay charges a nudge, unless nudgeBurst of them are not paid off yet. p.mu is held.
func (p *providerKeys) pay() bool {
	now := p.now()
	next := p.paid.Add(nudgeEvery)
	if p.paid.Before(now) {
		next = now.Add(nudgeEvery)
	}
	if next.Sub(now) > nudgeBurst*nudgeEvery {
		return false
	}
	p.paid = next
	return true
}

// read reads the discovery document and the keys; with an error the keys known stay.
func (p *providerKeys) read(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	var about struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if _, err := p.get(ctx, strings.TrimSuffix(p.issuer, "/")+"/.well-known/openid-configuration", &about); err != nil {
		return err
	}
	if about.Issuer != p.issuer {
		return fmt.Errorf("the provider calls itself %q", about.Issuer)
	}
	if err := checkURL(about.Keys); err != nil {
		return fmt.Errorf("jwks_uri: %w", err)
	}
	var published struct{ Keys []json.RawMessage }
	text, err := p.get(ctx, about.Keys, &published)
	if err != nil {
		return err
	}
	next := &keySet{text: string(text), number: 1}
	for _, raw := range published.Keys {
		var key jose.JSONWebKey
		// Keys of kinds we do not know stand beside those we do; secrets are nobody's to publish.
		if json.Unmarshal(raw, &key) == nil && key.Valid() && key.IsPublic() {
			next.keys.Keys = append(next.keys.Keys, key)
		}
	}
	if len(next.keys.Keys) == 0 {
		return errors.New("the provider publishes no key")
	}
	now := p.now().Unix()
	if old := p.set.Load(); old != nil {
		if old.text == next.text {
			old.fetched.Store(now)
			return nil
		}
		next.number = old.number + 1
	}
	next.fetched.Store(now)
	p.set.Store(next)
	return nil
}

func (p *providerKeys) get(ctx context.Context, from string, into any) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }() // read to its end or given up
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", from, resp.Status)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxDocument {
		return nil, fmt.Errorf("%s is larger than 1 MiB", from)
	}
	return b, json.Unmarshal(b, into)
}

var _ oidc.KeySet = (*providerKeys)(nil)
