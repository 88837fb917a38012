package shelf

import (
	"strings"
	"sync"
	"time"

	"go.einride.tech/aip/filtering"
	expr "google.golang.org/genproto/googleapis/api/expr/v1alpha1"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
)

// Limits of a filter. They bound the parser's recursion and what one match may cost.
const (
	maxFilterBytes = 1024
	maxFilterDepth = 16
	maxFilterTerms = 64
)

// Filter is a compiled AIP-160 filter over films.
type Filter struct{ match predicate }

// moment is when, and for which market (0 = any), a filter is asked.
type moment struct {
	now    int64
	market country
}

type predicate func(s *Snapshot, e *Entry, at moment) bool

// Filters are compiled once: a caller pages with the same one. The cache is emptied when full.
var compiled = struct {
	sync.Mutex
	filters map[string]*Filter
}{filters: map[string]*Filter{}}

const maxCompiled = 1000

// CompileFilter parses and checks a filter; errors are faults with reason INVALID_FILTER.
//
// The grammar is AIP-160's: AND, OR (which binds tighter), NOT, "-", parentheses; terms side
// by side mean AND. Enums and durations may be bare or quoted; times, dates and whatever
// holds other signs than letters, digits and "_" are quoted. "field:*" asks whether the field
// is set; every other comparison with an unset field is false, "!=" too.
func CompileFilter(source string) (*Filter, error) {
	compiled.Lock()
	f := compiled.filters[source]
	compiled.Unlock()
	if f != nil {
		return f, nil
	}
	f, err := compileFilter(source)
	if err != nil {
		return nil, err
	}
	compiled.Lock()
	defer compiled.Unlock()
	if len(compiled.filters) >= maxCompiled {
		clear(compiled.filters)
	}
	compiled.filters[strings.Clone(source)] = f
	return f, nil
}

func compileFilter(source string) (*Filter, error) {
	if len(source) > maxFilterBytes {
		return nil, badFilter("is longer than %d bytes", maxFilterBytes)
	}
	text, err := prepare(source)
	if err != nil {
		return nil, err
	}
	if text == "" {
		return &Filter{match: func(*Snapshot, *Entry, moment) bool { return true }}, nil
	}
	var parser filtering.Parser
	parser.Init(text)
	parsed, perr := parser.Parse()
	if perr != nil {
		return nil, badFilter(`cannot be read: %s (write for example: form = FEATURE AND genres:"drama")`, flat(perr))
	}
	var c compiler
	match, err := c.condition(parsed.GetExpr())
	if err != nil {
		return nil, err
	}
	return &Filter{match}, nil
}

// flat is the innermost cause of a parser's error, in one line.
func flat(err error) string {
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	text := strings.TrimSpace(lines[len(lines)-1])
	for _, prefix := range []string{"expression: ", "sequence: ", "factor: ", "term: ", "simple: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return strings.ToValidUTF8(text, "?")
}

func badFilter(format string, args ...any) error {
	e := fault.Invalid("filter", format, args...)
	e.Reason = pb.ErrorReason_INVALID_FILTER
	return e
}

// prepare checks the depth and quotes what the parser would cut in two: durations such as
// 7200s. Spaces before a closing parenthesis go: the parser takes them for another term.
func prepare(source string) (string, error) {
	var out strings.Builder
	depth := 0
	var quote byte
	for i := 0; i < len(source); i++ {
		c := source[i]
		switch {
		case quote != 0:
			if c == '\\' && i+1 < len(source) {
				out.WriteByte(c)
				i++
				c = source[i]
			} else if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '(':
			if depth++; depth > maxFilterDepth {
				return "", badFilter("nests deeper than %d", maxFilterDepth)
			}
		case c == ')':
			depth--
			rest := strings.TrimRight(out.String(), " \t\r\n")
			out.Reset()
			out.WriteString(rest)
		case isDigit(c) && (i == 0 || !isWord(source[i-1])):
			if n := durationAt(source[i:]); n > 0 {
				out.WriteString(`"` + source[i:i+n] + `"`)
				i += n - 1
				continue
			}
		}
		out.WriteByte(c)
	}
	return strings.TrimSpace(out.String()), nil
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isWord(c byte) bool {
	return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'z' || c == '_' || c == '.' || c == '-' || c >= 0x80
}

// durationAt is the length of a duration such as 7200s or 1.5s at the start of text, else 0.
func durationAt(text string) int {
	n := 0
	for n < len(text) && (isDigit(text[n]) || text[n] == '.') {
		n++
	}
	if n < len(text) && text[n] == 's' && (n+1 == len(text) || !isWord(text[n+1])) {
		return n + 1
	}
	return 0
}

// Match reports whether the film matches at a time. Fields that depend on the market
// (available_time, available_until) match when they do for any market.
func (f *Filter) Match(s *Snapshot, e *Entry, now time.Time) bool {
	return f.match(s, e, moment{now: now.UnixMicro()})
}

// MatchIn is Match for the viewers of one market.
func (f *Filter) MatchIn(s *Snapshot, e *Entry, now time.Time, market string) bool {
	return f.match(s, e, moment{now.UnixMicro(), countryOf(market)})
}

// compiler turns an expression into a predicate.
type compiler struct{ terms int }

func (c *compiler) condition(e *expr.Expr) (predicate, error) {
	call := e.GetCallExpr()
	if call == nil {
		return nil, badFilter(`%q stands alone; say what it is to be compared with, for example title:"robot"`, literalOf(e).text)
	}
	switch fn := call.GetFunction(); fn {
	case filtering.FunctionAnd, filtering.FunctionFuzzyAnd, filtering.FunctionOr:
		left, err := c.condition(call.GetArgs()[0])
		if err != nil {
			return nil, err
		}
		right, err := c.condition(call.GetArgs()[1])
		if err != nil {
			return nil, err
		}
		if fn == filtering.FunctionOr {
			return func(s *Snapshot, e *Entry, at moment) bool { return left(s, e, at) || right(s, e, at) }, nil
		}
		return func(s *Snapshot, e *Entry, at moment) bool { return left(s, e, at) && right(s, e, at) }, nil
	case filtering.FunctionNot:
		inner, err := c.condition(call.GetArgs()[0])
		if err != nil {
			return nil, err
		}
		return func(s *Snapshot, e *Entry, at moment) bool { return !inner(s, e, at) }, nil
	case "=", "!=", "<", "<=", ">", ">=", ":":
		return c.restriction(fn, call.GetArgs()[0], call.GetArgs()[1])
	default:
		return nil, badFilter("has no function %q", fn)
	}
}

func (c *compiler) restriction(op string, left, right *expr.Expr) (predicate, error) {
	if c.terms++; c.terms > maxFilterTerms {
		return nil, badFilter("has more than %d terms", maxFilterTerms)
	}
	name := literalOf(left)
	field, ok := fields[name.text]
	if !ok || name.quoted {
		return nil, badFilter("has no field %q; there are %s", name.text, fieldNames)
	}
	value := literalOf(right)
	if value.bad {
		return nil, badFilter("compares %s with an expression; give one value, in quotes", name.text)
	}
	if op == ":" && value.text == "*" {
		return field.present, nil
	}
	match, rule := field.compile(op, value)
	if rule != "" {
		return nil, badFilter("%s %s", name.text, rule)
	}
	return match, nil
}

// literal is one side of a comparison.
type literal struct {
	text   string
	number float64
	kind   literalKind
	quoted bool // written in quotes, or after ":"
	bad    bool // not a literal
}

type literalKind uint8

const (
	isText literalKind = iota
	isInt
	isFloat
)

func literalOf(e *expr.Expr) literal {
	switch {
	case e.GetIdentExpr() != nil:
		return literal{text: e.GetIdentExpr().GetName()}
	case e.GetSelectExpr() != nil:
		operand := literalOf(e.GetSelectExpr().GetOperand())
		return literal{text: operand.text + "." + e.GetSelectExpr().GetField(), bad: operand.bad}
	case e.GetCallExpr() != nil:
		call := e.GetCallExpr()
		if fn := call.GetFunction(); (fn == filtering.FunctionTimestamp || fn == filtering.FunctionDuration) && len(call.GetArgs()) == 1 {
			return literalOf(call.GetArgs()[0])
		}
		return literal{bad: true}
	}
	switch k := e.GetConstExpr().GetConstantKind().(type) {
	case *expr.Constant_StringValue:
		return literal{text: k.StringValue, quoted: true}
	case *expr.Constant_Int64Value:
		return literal{text: formatInt(k.Int64Value), number: float64(k.Int64Value), kind: isInt}
	case *expr.Constant_DoubleValue:
		return literal{text: formatFloat(k.DoubleValue), number: k.DoubleValue, kind: isFloat}
	}
	return literal{bad: true}
}
