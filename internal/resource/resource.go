// Package resource holds what every kind of resource shares at its door: the form of names
// and ids, etags, the schema's field rules with their paths, and sealed page tokens. Films,
// genres, charts, sections, layouts and releases obey the same ones.
package resource

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/aitheater/theater/internal/fault"
)

var idForm = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`)

const idRule = "an id is a lower-case letter, then up to 62 lower-case letters, digits and hyphens, not ending in a hyphen"

// IsID reports whether s has the form of an id.
func IsID(s string) bool { return idForm.MatchString(s) }

// CheckName refuses what is not prefix and an id; path is where the name stands.
func CheckName(path, prefix, name string) error {
	id, ok := strings.CutPrefix(name, prefix)
	if !ok || !IsID(id) {
		return fault.Invalid(path, "must be %s{id}; %s", prefix, idRule)
	}
	return nil
}

// NewName is the name of a resource to be created: the id, with the name inside the message
// empty or equal.
func NewName(prefix, idPath, id, namePath, inside string) (string, error) {
	if !IsID(id) {
		return "", fault.Invalid(idPath, "%s", idRule)
	}
	if inside != "" && inside != prefix+id {
		return "", fault.Invalid(namePath, "must be empty or %s%s", prefix, id)
	}
	return prefix + id, nil
}

// Fingerprint is an etag: equal for equal messages. The caller clears what does not belong.
func Fingerprint(m proto.Message) (string, error) {
	wire, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(wire)
	return hex.EncodeToString(sum[:12]), nil
}

// CheckEtag refuses an etag that was sent and is not the current one.
func CheckEtag(name, sent, current string) error {
	if sent != "" && sent != current {
		return fault.EtagMismatch(name, current)
	}
	return nil
}

// maxFields bounds the broken rules one error lists: errors travel in headers.
const maxFields = 20

// Broken collects the field rules a message breaks.
type Broken []fault.Field

// Add notes that the field at path breaks a rule.
func (b *Broken) Add(path, rule string, args ...any) {
	*b = append(*b, fault.Field{Path: path, Rule: fmt.Sprintf(rule, args...)})
}

// Require notes rule unless it is empty.
func (b *Broken) Require(path, rule string) {
	if rule != "" {
		*b = append(*b, fault.Field{Path: path, Rule: rule})
	}
}

// Err is the fault that lists them, nil for none.
func (b Broken) Err() error {
	if len(b) == 0 {
		return nil
	}
	return fault.InvalidFields(b[:min(len(b), maxFields)])
}

// Schema gives the rules of the schema that m breaks, times no calendar has among them. path
// is where m stands in the request.
func Schema(path string, m proto.Message) (Broken, error) {
	var broken Broken
	broken.times(path, m.ProtoReflect())
	if len(broken) > 0 { // the schema's rules cannot be asked about impossible times
		return broken, nil
	}
	err := protovalidate.Validate(m)
	var found *protovalidate.ValidationError
	if err == nil || !errors.As(err, &found) {
		return nil, err
	}
	for _, v := range found.Violations {
		at := path
		if field := protovalidate.FieldPathString(v.Proto.GetField()); field != "" {
			at += "." + field
		}
		if len(at) > 300 {
			at = strings.ToValidUTF8(at[:300], "") + "…"
		}
		broken.Require(at, v.Proto.GetMessage())
	}
	return broken, nil
}

// times walks a message for durations and timestamps out of range.
func (b *Broken) times(path string, m protoreflect.Message) {
	switch v := m.Interface().(type) {
	case *timestamppb.Timestamp:
		if v.CheckValid() != nil {
			b.Add(path, "must be a time between the years 1 and 9999 with 0 to 999,999,999 nanoseconds")
		}
		return
	case *durationpb.Duration:
		if v.CheckValid() != nil {
			b.Add(path, "must be a duration of at most 10,000 years, seconds and nanoseconds of one sign")
		}
		return
	}
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		if field.Message() == nil || field.IsMap() {
			return true
		}
		at := path + "." + string(field.Name())
		if !field.IsList() {
			b.times(at, value.Message())
			return true
		}
		for i := range value.List().Len() {
			b.times(fmt.Sprintf("%s[%d]", at, i), value.List().Get(i).Message())
		}
		return true
	})
}
