package curation

import (
	"testing"

	"github.com/stretchr/testify/require"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
)

// Whatever is sent as a filter is a predicate or a fault that says so.
func FuzzAuditFilter(f *testing.F) {
	f.Add(`actor = "anna" AND time > "2026-11-01T00:00:00Z"`)
	f.Add(`NOT (revision >= 3 OR resource:"films/")`)
	f.Add(`revision = -1 -actor:"x"`)
	f.Fuzz(func(t *testing.T, source string) {
		match, err := compileAuditFilter(source)
		if err != nil {
			require.True(t, fault.Is(err, pb.ErrorReason_INVALID_FILTER), "%v", err)
			return
		}
		match(&pb.AuditEntry{Actor: "anna", Revision: 3})
	})
}
