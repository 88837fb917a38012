// Package masks applies field masks (AIP-161) to stored messages, the same way for every
// resource: a mask names fields, never map keys or list items; a map or list is replaced
// whole; naming a member of a oneof replaces the oneof; output-only fields are ignored.
package masks

import (
	"fmt"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/aitheater/theater/internal/fault"
)

// maxPaths bounds what one mask may ask for.
const maxPaths = 200

// Mask is a checked mask for one type of message.
type Mask struct {
	message protoreflect.MessageDescriptor
	all     bool // "*"
	implied bool // no mask: whatever the source has set
	paths   [][]protoreflect.FieldDescriptor
}

// Parse checks a mask for messages like of. path is where the mask stands in the request,
// for the error. A nil or empty mask means the fields that are set; "*" means all.
func Parse(path string, mask *fieldmaskpb.FieldMask, of proto.Message) (*Mask, error) {
	m := &Mask{message: of.ProtoReflect().Descriptor()}
	named := mask.GetPaths()
	switch {
	case len(named) == 0:
		m.implied = true
		return m, nil
	case len(named) == 1 && named[0] == "*":
		m.all = true
		return m, nil
	case len(named) > maxPaths:
		return nil, fault.Invalid(path, "must name at most %d fields", maxPaths)
	}
	for _, name := range named {
		fields, rule := resolve(m.message, name)
		if rule != "" {
			return nil, fault.Invalid(path, "%s", rule)
		}
		m.paths = append(m.paths, fields)
	}
	return m, nil
}

func resolve(message protoreflect.MessageDescriptor, name string) ([]protoreflect.FieldDescriptor, string) {
	shown := name
	if len(shown) > 100 {
		shown = strings.ToValidUTF8(shown[:100], "") + "…"
	}
	var fields []protoreflect.FieldDescriptor
	for _, part := range strings.Split(name, ".") {
		if message == nil {
			return nil, fmt.Sprintf("%q goes into %s, which is replaced whole", shown, fields[len(fields)-1].Name())
		}
		field := message.Fields().ByName(protoreflect.Name(part))
		if field == nil {
			return nil, fmt.Sprintf("%q is not a field of %s; masks name fields, never map keys", shown, message.Name())
		}
		fields = append(fields, field)
		message = nil
		if sub := field.Message(); sub != nil && field.Cardinality() != protoreflect.Repeated && !strings.HasPrefix(string(sub.FullName()), "google.protobuf.") {
			message = sub
		}
	}
	return fields, ""
}

// Names reports whether the mask names exactly this field, such as "provenance.aigc_label".
func (m *Mask) Names(name string) bool {
	for _, fields := range m.paths {
		parts := make([]string, len(fields))
		for i, f := range fields {
			parts[i] = string(f.Name())
		}
		if strings.Join(parts, ".") == name {
			return true
		}
	}
	return false
}

// Apply copies the fields the mask names from src to dst; a named field that src has not set
// is cleared. Identifiers, etags and output-only fields of the message are left alone. What
// is copied is shared with src, which the caller gives up.
func (m *Mask) Apply(dst, src proto.Message) {
	to, from := dst.ProtoReflect(), src.ProtoReflect()
	if m.all || m.implied {
		fields := m.message.Fields()
		for i := range fields.Len() {
			if f := fields.Get(i); m.all || from.Has(f) {
				copyField(to, from, f)
			}
		}
		return
	}
	for _, path := range m.paths {
		copyPath(to, from, path)
	}
}

func copyPath(to, from protoreflect.Message, path []protoreflect.FieldDescriptor) {
	field := path[0]
	if len(path) == 1 {
		copyField(to, from, field)
		return
	}
	if !Editable(field) || !to.Has(field) && !from.Has(field) {
		return
	}
	copyPath(to.Mutable(field).Message(), from.Get(field).Message(), path[1:])
}

func copyField(to, from protoreflect.Message, field protoreflect.FieldDescriptor) {
	if !Editable(field) {
		return
	}
	if oneof := field.ContainingOneof(); oneof != nil {
		if old := to.WhichOneof(oneof); old != nil {
			to.Clear(old)
		}
		if field = from.WhichOneof(oneof); field == nil {
			return
		}
	}
	if from.Has(field) {
		to.Set(field, from.Get(field))
	} else {
		to.Clear(field)
	}
}

// Editable reports whether clients may set a field: it is neither output-only nor an
// identifier nor the etag.
func Editable(field protoreflect.FieldDescriptor) bool {
	if field.Name() == "etag" {
		return false
	}
	behaviors, _ := proto.GetExtension(field.Options(), annotations.E_FieldBehavior).([]annotations.FieldBehavior)
	for _, b := range behaviors {
		if b == annotations.FieldBehavior_OUTPUT_ONLY || b == annotations.FieldBehavior_IDENTIFIER {
			return false
		}
	}
	return true
}

// ClearOutput clears what a client may not set, down to the leaves, and fields this version
// does not know; identifier and etag stay.
func ClearOutput(m proto.Message) { clearOutput(m.ProtoReflect()) }

func clearOutput(m protoreflect.Message) {
	if len(m.GetUnknown()) > 0 {
		m.SetUnknown(nil)
	}
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.Name() != "etag" && field.Name() != "name" && !Editable(field):
			m.Clear(field)
		case field.IsMap():
			if field.MapValue().Message() != nil {
				value.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
					clearOutput(v.Message())
					return true
				})
			}
		case field.IsList():
			if field.Message() != nil {
				for i := range value.List().Len() {
					clearOutput(value.List().Get(i).Message())
				}
			}
		case field.Message() != nil:
			clearOutput(value.Message())
		}
		return true
	})
}
