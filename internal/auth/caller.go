package auth

import (
	"context"

	pb "github.com/aitheater/theater/api/theater/v1"
)

// Caller is who makes a call, as its credentials say.
type Caller struct {
	// ID is stable and fit for logs and audit: never a token.
	ID string
	// Roles is a bit set of 1<<Access_Role.
	Roles uint32
	// Audience is the most this caller may see; unset = as requested.
	Audience pb.Viewer_Audience
	// AgeBand is the highest band of a child; unset = as requested.
	AgeBand pb.Film_AgeBand
	// Markets are those the caller may edit or view; none = all.
	Markets []string
}

// Has reports whether the caller has the role, or is ADMIN.
func (c *Caller) Has(role pb.Access_Role) bool {
	return c.Roles&(1<<role|1<<pb.Access_ADMIN) != 0
}

// CallerKey is the key under which a context gives its *Caller, for contexts that hold one
// in a field of their own.
type CallerKey struct{}

// WithCaller gives ctx its caller.
func WithCaller(ctx context.Context, c *Caller) context.Context {
	return context.WithValue(ctx, CallerKey{}, c)
}

var nobody = &Caller{ID: "nobody"}

// CallerFrom gives the caller of ctx; a context without one has a caller without roles.
func CallerFrom(ctx context.Context) *Caller {
	if c, ok := ctx.Value(CallerKey{}).(*Caller); ok {
		return c
	}
	return nobody
}
