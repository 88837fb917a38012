package auth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"

	pb "github.com/aitheater/theater/api/theater/v1"
)

// minKey is the length below which a static key could be guessed.
const minKey = 16

// Static knows callers by keys listed in a file. Keys are kept and compared as SHA-256
// hashes, so that neither memory nor timing tells one.
type Static struct {
	callers map[[sha256.Size]byte]*known
	// names are callers by a name in their client certificate.
	names map[string]*known
}

// known is a caller of the file.
type known struct {
	caller  *Caller
	expires time.Time
}

// Entry is one value of the file.
type Entry struct {
	Claims
	// Expires is when the key is no longer taken; zero = never.
	Expires time.Time `json:"expires,omitzero"`
}

// ReadStatic reads a file of static keys: a JSON object from key to
//
//	{"id": "web", "roles": ["VIEWER"], "audience": "KIDS", "age_band": "AGE_8", "markets": ["CN"], "expires": "2027-01-31T00:00:00Z"}
//
// A key is written out (at least 16 characters) or as "sha256:" and the hash in hex, so that
// the file need not hold it. "san:" and a URI or DNS name stands for clients whose verified
// certificate has that name (mTLS). Only id and roles are required; expires is RFC 3339.
func ReadStatic(path string) (*Static, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s, err := ParseStatic(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// ParseStatic is ReadStatic over the file's content. Its errors name the entry by id or
// place, never by key.
func ParseStatic(content []byte) (*Static, error) {
	d := json.NewDecoder(bytes.NewReader(content))
	d.DisallowUnknownFields()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("want a JSON object from key to principal")
	}
	s := &Static{callers: map[[sha256.Size]byte]*known{}, names: map[string]*known{}}
	for n := 1; d.More(); n++ {
		t, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("entry %d: not JSON", n)
		}
		key, _ := t.(string)
		var e Entry
		if err := d.Decode(&e); err != nil {
			return nil, fmt.Errorf("entry %d: %w", n, err)
		}
		caller, err := e.caller()
		if err == nil {
			err = s.add(key, &known{caller, e.Expires})
		}
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", n, err)
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, errors.New("the JSON object does not end")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is something after the JSON object")
	}
	return s, nil
}

func (s *Static) add(key string, k *known) error {
	if name, ok := strings.CutPrefix(key, "san:"); ok {
		if name == "" || s.names[name] != nil {
			return errors.New("the certificate name is empty or there twice")
		}
		s.names[name] = k
		return nil
	}
	sum, err := keyHash(key)
	if err != nil {
		return err
	}
	if s.callers[sum] != nil {
		return errors.New("the key is there twice")
	}
	s.callers[sum] = k
	return nil
}

func keyHash(key string) (sum [sha256.Size]byte, err error) {
	if encoded, ok := strings.CutPrefix(key, "sha256:"); ok {
		b, err := hex.DecodeString(encoded)
		if err != nil || len(b) != len(sum) {
			return sum, errors.New("after sha256: there must be 64 hex digits")
		}
		return [sha256.Size]byte(b), nil
	}
	if len(key) < minKey {
		return sum, fmt.Errorf("a key must have at least %d characters", minKey)
	}
	return sha256.Sum256([]byte(key)), nil
}

// Authenticate implements Authenticator.
func (s *Static) Authenticate(_ context.Context, c Credentials) (*Caller, error) {
	if c.Bearer == "" {
		k := s.certified(c.TLS)
		if k == nil {
			return nobody, nil
		}
		return k.at(time.Now())
	}
	if k := s.callers[sha256.Sum256([]byte(c.Bearer))]; k != nil {
		return k.at(time.Now())
	}
	return nil, errNoKey
}

func (k *known) at(now time.Time) (*Caller, error) {
	if !k.expires.IsZero() && !now.Before(k.expires) {
		return nil, Unauthenticated("the key has expired")
	}
	return k.caller, nil
}

// certified gives the caller of a verified client certificate, by the first of its names
// that is listed; nil for none. A certificate nobody verified has no names.
func (s *Static) certified(state *tls.ConnectionState) *known {
	if state == nil || len(state.VerifiedChains) == 0 {
		return nil
	}
	leaf := state.VerifiedChains[0][0]
	for _, u := range leaf.URIs {
		if k := s.names[u.String()]; k != nil {
			return k
		}
	}
	for _, name := range leaf.DNSNames {
		if k := s.names[name]; k != nil {
			return k
		}
	}
	return nil
}

var (
	marketForm = regexp.MustCompile(`^[A-Z]{2}$`)
	idForm     = regexp.MustCompile(`^[\x21-\x7e]{1,200}$`)
)

// caller checks claims; they mean the same in a static file and a token.
func (p *Claims) caller() (*Caller, error) {
	if !idForm.MatchString(p.ID) {
		return nil, errors.New("id: 1 to 200 printable ASCII characters without spaces are required")
	}
	c := &Caller{ID: p.ID, Markets: p.Markets}
	for _, name := range p.Roles {
		role, ok := pb.Access_Role_value[name]
		if !ok || role == 0 {
			return nil, fmt.Errorf("%s: role %q does not exist", p.ID, name)
		}
		c.Roles |= 1 << role
	}
	if c.Roles == 0 {
		return nil, fmt.Errorf("%s: at least one role is required", p.ID)
	}
	if p.Markets != nil && len(p.Markets) == 0 {
		return nil, fmt.Errorf("%s: markets are there and empty; leave them out for all markets", p.ID)
	}
	for _, m := range p.Markets {
		if !marketForm.MatchString(m) {
			return nil, fmt.Errorf("%s: market %q is not two capital letters", p.ID, m)
		}
	}
	if p.Audience != "" {
		v, ok := pb.Viewer_Audience_value[p.Audience]
		if !ok || v == 0 {
			return nil, fmt.Errorf("%s: audience %q does not exist", p.ID, p.Audience)
		}
		c.Audience = pb.Viewer_Audience(v)
	}
	if p.AgeBand != "" {
		v, ok := pb.Film_AgeBand_value[p.AgeBand]
		if !ok || v == 0 {
			return nil, fmt.Errorf("%s: age band %q does not exist", p.ID, p.AgeBand)
		}
		c.AgeBand = pb.Film_AgeBand(v)
		// A band is a child's: who is given one is not an adult by asking.
		if c.Audience == pb.Viewer_AUDIENCE_UNSPECIFIED && c.AgeBand != pb.Film_AGE_18 {
			c.Audience = pb.Viewer_KIDS
		}
		if c.Audience == pb.Viewer_KIDS && c.AgeBand == pb.Film_AGE_18 {
			return nil, fmt.Errorf("%s: AGE_18 is no band of children", p.ID)
		}
	}
	return c, nil
}
