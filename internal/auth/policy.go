package auth

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
)

// Policy reads who may call a method from the schema: a bit set of 1<<Access_Role. A method
// that does not say, or names no role, is an error: the server must not start with it.
func Policy(method protoreflect.MethodDescriptor) (uint32, error) {
	access, _ := proto.GetExtension(method.Options(), pb.E_Access).(*pb.Access)
	var roles uint32
	for _, role := range access.GetRoles() {
		if role <= pb.Access_ROLE_UNSPECIFIED || role > pb.Access_ADMIN {
			return 0, fmt.Errorf("%s: access names the role %d, which does not exist", method.FullName(), role)
		}
		roles |= 1 << role
	}
	if roles == 0 {
		return 0, fmt.Errorf("%s: the schema does not say who may call it; give it the option (theater.v1.access)", method.FullName())
	}
	return roles | 1<<pb.Access_ADMIN, nil
}

// Allow says whether the caller has any of the roles of a policy. Nobody is told to come
// back with credentials; somebody is told that these do not do.
func (c *Caller) Allow(roles uint32) error {
	if c.Roles&roles != 0 {
		return nil
	}
	if c.Roles == 0 {
		return Unauthenticated("no credentials")
	}
	return fault.New(fault.PermissionDenied, pb.ErrorReason_PERMISSION_DENIED, "your roles do not allow this method")
}

// Limited reports whether the caller may change only what concerns its Markets.
func (c *Caller) Limited() bool { return len(c.Markets) > 0 && !c.Has(pb.Access_ADMIN) }

// Everywhere refuses a Limited caller a change of what is for all markets.
func (c *Caller) Everywhere() error {
	if c.Limited() {
		return c.Beyond()
	}
	return nil
}

// Beyond is what a Limited caller is told of a change that reaches further.
func (c *Caller) Beyond() error {
	return fault.New(fault.PermissionDenied, pb.ErrorReason_PERMISSION_DENIED, "the caller may change only what concerns the markets %s", strings.Join(c.Markets, ", "))
}

// Unauthenticated is the answer to missing or bad credentials. why is for the client and
// must not repeat anything it sent.
func Unauthenticated(why string) error {
	return fault.New(fault.Unauthenticated, pb.ErrorReason_UNAUTHENTICATED, "%s", why)
}
