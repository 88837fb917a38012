package auth

// Keys derives everything secret from one root secret with HKDF, a key per purpose, and
// seals tokens with XChaCha20-Poly1305. Every sealed token begins with a key id, so that a
// new root secret can be accepted before it seals.
type Keys struct {
}

// NewKeys makes keys from root secrets of at least 32 bytes; the first seals, all open.
func NewKeys(roots ...[]byte) (*Keys, error) { panic("to be written") }

// Derive gives n bytes that depend on the sealing root and the purpose.
func (k *Keys) Derive(purpose string, n int) []byte { panic("to be written") }

// Seal encrypts and authenticates plain for a purpose, bound to bind (which is not carried):
// Open with another purpose or bind fails. The result is unpadded base64url.
func (k *Keys) Seal(purpose string, plain, bind []byte) string { panic("to be written") }

// Open is the inverse of Seal. Any other input, however mangled, is an error.
func (k *Keys) Open(purpose, token string, bind []byte) ([]byte, error) { panic("to be written") }
