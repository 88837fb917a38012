package auth

import (
	"bytes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"golang.org/x/crypto/chacha20poly1305"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
)

const (
	minRoot   = 32
	keyIDSize = 4
	// maxToken is far above any token of ours; longer input is not even decoded.
	maxToken = 8 << 10
)

// Keys derives everything secret from one root secret with HKDF (RFC 5869, SHA-256), a key
// per purpose, and seals tokens with XChaCha20-Poly1305. Every sealed token begins with a key
// id, so that a new root secret can be accepted before it seals.
type Keys struct {
	roots []*root
}

type root struct {
	secret []byte
	id     []byte
	// aeads holds a cipher.AEAD by purpose. Purposes are names in our code, never a client's
	// input, so the map is bounded.
	aeads sync.Map
}

// NewKeys makes keys from root secrets of at least 32 bytes; the first seals, all open.
// To rotate without refusing a token: add the new secret as the second on every replica,
// then make it the first, then, when the tokens of the old one no longer matter, drop that.
// What is kept longer than a token is sealed again by its owner at the step in the middle.
func NewKeys(roots ...[]byte) (*Keys, error) {
	if len(roots) == 0 {
		return nil, errors.New("no root secret")
	}
	k := &Keys{}
	for _, secret := range roots {
		if len(secret) < minRoot {
			return nil, errors.New("a root secret must have at least 32 bytes")
		}
		r := &root{secret: bytes.Clone(secret)}
		r.id = r.derive("key id", keyIDSize)
		for _, other := range k.roots {
			if bytes.Equal(other.id, r.id) {
				return nil, errors.New("a root secret is given twice")
			}
		}
		k.roots = append(k.roots, r)
	}
	return k, nil
}

// ReadKeys makes keys from a file of root secrets, one a line: the first seals, all open.
func ReadKeys(path string) (*Keys, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("secret file: %w", err)
	}
	var roots [][]byte
	for line := range bytes.Lines(content) {
		if line = bytes.TrimSpace(line); len(line) > 0 {
			roots = append(roots, line)
		}
	}
	k, err := NewKeys(roots...)
	if err != nil {
		return nil, fmt.Errorf("secret file %s: %w", path, err)
	}
	return k, nil
}

// String keeps the secrets out of logs.
func (k *Keys) String() string { return "keys(redacted)" }

// GoString keeps the secrets out of %#v.
func (k *Keys) GoString() string { return k.String() }

// Derive gives n bytes (at most 8,160) that depend on the sealing root and the purpose.
func (k *Keys) Derive(purpose string, n int) []byte {
	return k.roots[0].derive("derive/"+purpose, n)
}

func (r *root) derive(info string, n int) []byte {
	b, err := hkdf.Key(sha256.New, r.secret, nil, "theater/"+info, n)
	if err != nil {
		panic(err) // only for a length no caller of ours asks for
	}
	return b
}

func (r *root) aead(purpose string) cipher.AEAD {
	if a, ok := r.aeads.Load(purpose); ok {
		return a.(cipher.AEAD)
	}
	a, err := chacha20poly1305.NewX(r.derive("seal/"+purpose, chacha20poly1305.KeySize))
	if err != nil {
		panic(err) // only for a key of another size
	}
	r.aeads.Store(purpose, a)
	return a
}

// Seal encrypts and authenticates plain for a purpose, bound to bind (which is not carried):
// Open with another purpose or bind fails. The result is unpadded base64url.
func (k *Keys) Seal(purpose string, plain, bind []byte) string {
	r := k.roots[0]
	const head = keyIDSize + chacha20poly1305.NonceSizeX
	b := make([]byte, head, head+len(plain)+chacha20poly1305.Overhead)
	copy(b, r.id)
	_, _ = rand.Read(b[keyIDSize:]) // never fails: it ends the process instead
	b = r.aead(purpose).Seal(b, b[keyIDSize:], plain, bind)
	return base64.RawURLEncoding.EncodeToString(b)
}

// strict refuses the second spellings of one token that plain base64 lets pass.
var strict = base64.RawURLEncoding.Strict()

// Open is the inverse of Seal. Any other input, however mangled, is a fault of kind
// InvalidArgument and reason INVALID_PAGE_TOKEN that says nothing about why.
func (k *Keys) Open(purpose, token string, bind []byte) ([]byte, error) {
	// The decoder skips line breaks; a token has none.
	if len(token) > maxToken || strings.ContainsAny(token, "\r\n") {
		return nil, notOurs()
	}
	b, err := strict.DecodeString(token)
	if err != nil || len(b) < keyIDSize+chacha20poly1305.NonceSizeX+chacha20poly1305.Overhead {
		return nil, notOurs()
	}
	for _, r := range k.roots {
		if !bytes.Equal(r.id, b[:keyIDSize]) {
			continue
		}
		nonce := b[keyIDSize : keyIDSize+chacha20poly1305.NonceSizeX]
		plain, err := r.aead(purpose).Open(nil, nonce, b[keyIDSize+chacha20poly1305.NonceSizeX:], bind)
		if err != nil {
			return nil, notOurs()
		}
		return plain, nil
	}
	return nil, notOurs()
}

// Current reports whether a token was sealed with the root secret that seals now; one that
// was not does not survive the old secret.
func (k *Keys) Current(token string) bool {
	b, err := strict.DecodeString(token)
	return err == nil && bytes.HasPrefix(b, k.roots[0].id)
}

func notOurs() error {
	return fault.New(fault.InvalidArgument, pb.ErrorReason_INVALID_PAGE_TOKEN, "token: altered, foreign, or made for other arguments")
}
