package auth

import "time"

// SetNow sets the clock by which tokens and keys age.
func (o *OIDC) SetNow(now func() time.Time) { o.keys.now = now }
