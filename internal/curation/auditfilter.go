package curation

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"go.einride.tech/aip/filtering"
	expr "google.golang.org/genproto/googleapis/api/expr/v1alpha1"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
)

type auditMatch func(*pb.AuditEntry) bool

const (
	maxAuditFilter = 1024
	maxAuditDepth  = 16
)

// compileAuditFilter parses an AIP-160 filter over resource, actor, method (":" = contains),
// revision and time (quoted RFC 3339). Errors are faults with reason INVALID_FILTER.
func compileAuditFilter(source string) (auditMatch, error) {
	if strings.TrimSpace(source) == "" {
		return func(*pb.AuditEntry) bool { return true }, nil
	}
	if len(source) > maxAuditFilter || strings.Count(source, "(") > maxAuditDepth {
		return nil, badAuditFilter("must be at most %d bytes and nest at most %d deep", maxAuditFilter, maxAuditDepth)
	}
	var parser filtering.Parser
	parser.Init(source)
	parsed, err := parser.Parse()
	if err != nil {
		return nil, badAuditFilter(`cannot be read (write for example: actor = "anna" AND time > "2026-11-01T00:00:00Z")`)
	}
	return auditCondition(parsed.GetExpr())
}

func badAuditFilter(format string, args ...any) error {
	e := fault.Invalid("filter", format, args...)
	e.Reason = pb.ErrorReason_INVALID_FILTER
	return e
}

func auditCondition(e *expr.Expr) (auditMatch, error) {
	call := e.GetCallExpr()
	if call == nil {
		return nil, badAuditFilter("must be made of comparisons")
	}
	var parts []auditMatch
	switch call.GetFunction() {
	case filtering.FunctionAnd, filtering.FunctionFuzzyAnd, filtering.FunctionOr, filtering.FunctionNot:
		for _, arg := range call.GetArgs() {
			part, err := auditCondition(arg)
			if err != nil {
				return nil, err
			}
			parts = append(parts, part)
		}
	default:
		return auditComparison(call)
	}
	switch call.GetFunction() {
	case filtering.FunctionNot:
		return func(e *pb.AuditEntry) bool { return !parts[0](e) }, nil
	case filtering.FunctionOr:
		return func(e *pb.AuditEntry) bool { return parts[0](e) || parts[1](e) }, nil
	default:
		return func(e *pb.AuditEntry) bool { return parts[0](e) && parts[1](e) }, nil
	}
}

func auditComparison(call *expr.Expr_Call) (auditMatch, error) {
	if len(call.GetArgs()) != 2 {
		return nil, badAuditFilter("must be made of comparisons")
	}
	field, op := call.GetArgs()[0].GetIdentExpr().GetName(), call.GetFunction()
	value := call.GetArgs()[1].GetConstExpr()
	text := value.GetStringValue()
	if id := call.GetArgs()[1].GetIdentExpr(); id != nil {
		text = id.GetName()
	}
	switch field {
	case "resource", "actor", "method":
		get := map[string]func(*pb.AuditEntry) string{"resource": (*pb.AuditEntry).GetResource, "actor": (*pb.AuditEntry).GetActor, "method": (*pb.AuditEntry).GetMethod}[field]
		if op == filtering.FunctionHas {
			return func(e *pb.AuditEntry) bool { return strings.Contains(get(e), text) }, nil
		}
		return compared(op, func(e *pb.AuditEntry) int { return strings.Compare(get(e), text) })
	case "revision":
		n := value.GetInt64Value()
		if text != "" {
			var err error
			if n, err = strconv.ParseInt(text, 10, 64); err != nil {
				return nil, badAuditFilter("revision is compared with a whole number")
			}
		}
		return compared(op, func(e *pb.AuditEntry) int { return cmp.Compare(e.GetRevision(), n) })
	case "time":
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return nil, badAuditFilter(`time is compared with a quoted time such as "2026-11-01T00:00:00Z"`)
		}
		return compared(op, func(e *pb.AuditEntry) int { return e.GetTime().AsTime().Compare(at) })
	}
	return nil, badAuditFilter("%q is not a field of it; the fields are resource, actor, method, revision and time", field)
}

func compared(op string, compare func(*pb.AuditEntry) int) (auditMatch, error) {
	tests := map[string]func(int) bool{
		filtering.FunctionEquals: func(c int) bool { return c == 0 }, filtering.FunctionNotEquals: func(c int) bool { return c != 0 },
		filtering.FunctionLessThan: func(c int) bool { return c < 0 }, filtering.FunctionLessEquals: func(c int) bool { return c <= 0 },
		filtering.FunctionGreaterThan: func(c int) bool { return c > 0 }, filtering.FunctionGreaterEquals: func(c int) bool { return c >= 0 },
	}
	test, ok := tests[op]
	if !ok {
		return nil, badAuditFilter("%q is no comparison for this field", op)
	}
	return func(e *pb.AuditEntry) bool { return test(compare(e)) }, nil
}
