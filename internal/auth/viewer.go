package auth

import pb "github.com/aitheater/theater/api/theater/v1"

// Narrow applies the caller's claims to the viewer a request names: unset audience is KIDS,
// unset age band is ALL, a caller claimed as KIDS stays KIDS, a band above the claimed one
// is lowered to it. KIDS with AGE_18, and a market the caller may not view, are errors. The
// argument is not changed.
func Narrow(c *Caller, v *pb.Viewer) (*pb.Viewer, error) { panic("to be written") }
