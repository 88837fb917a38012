package disclosure

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
)

// MaxLabel is how long a label may be, in bytes; a longer one is not read.
const MaxLabel = 64 << 10

// labelFields are the fields of GB 45438-2025's implicit label, in its order, and where they
// go in the message.
var labelFields = []struct {
	name string
	in   func(*pb.AigcLabel) *string
}{
	{"Label", func(l *pb.AigcLabel) *string { return &l.Label }},
	{"ContentProducer", func(l *pb.AigcLabel) *string { return &l.ContentProducer }},
	{"ProduceID", func(l *pb.AigcLabel) *string { return &l.ProduceId }},
	{"ReservedCode1", func(l *pb.AigcLabel) *string { return &l.ReservedCode1 }},
	{"ContentPropagator", func(l *pb.AigcLabel) *string { return &l.ContentPropagator }},
	{"PropagateID", func(l *pb.AigcLabel) *string { return &l.PropagateId }},
	{"ReservedCode2", func(l *pb.AigcLabel) *string { return &l.ReservedCode2 }},
}

// ParseLabel reads an implicit label, {"AIGC":{"Label":"1",…}}. The bytes are kept as they
// are. A label that is not well-formed (wrong structure, a field twice or unknown, a value
// that is no string, holds other characters than the standard allows or is none of its
// labels) is not valid and makes the film suspected; what could be read of it is given. No
// bytes, no label: nil.
func ParseLabel(raw []byte) *pb.AigcLabel {
	if len(raw) == 0 {
		return nil
	}
	l := &pb.AigcLabel{Raw: bytes.Clone(raw), Class: pb.AigcLabel_SUSPECTED}
	if len(raw) > MaxLabel || readLabel(json.NewDecoder(bytes.NewReader(raw)), l) != nil {
		return l
	}
	for _, f := range labelFields {
		if strings.ContainsFunc(*f.in(l), func(r rune) bool { return !labelRune(r) }) {
			return l
		}
	}
	class, ok := map[string]pb.AigcLabel_Class{"1": pb.AigcLabel_CONFIRMED, "2": pb.AigcLabel_POSSIBLE, "3": pb.AigcLabel_SUSPECTED}[l.GetLabel()]
	if ok {
		l.Valid, l.Class = true, class
	}
	return l
}

// labelRune is the standard's set: visible ASCII without quote and backslash.
func labelRune(r rune) bool {
	return r == 0x21 || 0x23 <= r && r <= 0x5B || 0x5D <= r && r <= 0x7E
}

var errLabel = errors.New("not a label")

// readLabel reads strictly: names are matched by case, none may occur twice.
func readLabel(d *json.Decoder, l *pb.AigcLabel) error {
	d.UseNumber()
	for _, want := range []json.Token{json.Delim('{'), "AIGC", json.Delim('{')} {
		if got, err := d.Token(); err != nil || got != want {
			return errLabel
		}
	}
	seen := map[string]bool{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		value, err := d.Token()
		if err != nil {
			return err
		}
		key, text := name.(string)
		val, ok := value.(string)
		i := slices.IndexFunc(labelFields, func(f struct {
			name string
			in   func(*pb.AigcLabel) *string
		}) bool {
			return f.name == key
		})
		if !text || !ok || i < 0 || seen[key] {
			return errLabel
		}
		seen[key] = true
		*labelFields[i].in(l) = val
	}
	for range 2 {
		if got, err := d.Token(); err != nil || got != json.Delim('}') {
			return errLabel
		}
	}
	if _, err := d.Token(); err != io.EOF || !seen["Label"] {
		return errLabel
	}
	return nil
}

// CheckLabel compares a label found in a file, or a manifest's hash, with what the catalogue
// holds. Labels match if their bytes are the same, or if both are valid and say the same.
func CheckLabel(f *pb.Film, found *pb.CheckLabelRequest) *pb.CheckLabelResponse {
	out := &pb.CheckLabelResponse{}
	differ := func(ok bool, name string) {
		if !ok {
			out.Differences = append(out.Differences, name)
		}
	}
	switch x := found.GetFound().(type) {
	case *pb.CheckLabelRequest_AigcLabel:
		out.Label = ParseLabel(x.AigcLabel)
		held := ParseLabel(f.GetProvenance().GetAigcLabel().GetRaw())
		switch {
		case held == nil:
			out.Result = pb.CheckLabelResponse_UNKNOWN
			return out
		case bytes.Equal(held.GetRaw(), x.AigcLabel):
		case !held.GetValid() || !out.GetLabel().GetValid():
			differ(false, "raw")
		default:
			for _, field := range labelFields {
				differ(*field.in(held) == *field.in(out.Label), field.name)
			}
		}
	case *pb.CheckLabelRequest_ManifestHash:
		held := f.GetProvenance().GetC2Pa().GetManifestHash()
		if held == "" {
			out.Result = pb.CheckLabelResponse_UNKNOWN
			return out
		}
		differ(strings.EqualFold(held, x.ManifestHash), "manifest_hash")
	default:
		out.Result = pb.CheckLabelResponse_UNKNOWN
		return out
	}
	out.Result = pb.CheckLabelResponse_MATCH
	if len(out.GetDifferences()) > 0 {
		out.Result = pb.CheckLabelResponse_MISMATCH
	}
	return out
}

// Strengthens reports whether a changed film discloses at least what the old one did; if not,
// it gives a fault with reason DISCLOSURE_WEAKENED and a violation per loss. What was not
// known before cannot be weakened.
func Strengthens(old, changed *pb.Film) error {
	var lost []fault.Violation
	keep := func(ok bool, rule, remedy string) {
		if !ok {
			lost = append(lost, fault.Violation{Rule: rule, Subject: changed.GetName(), Description: remedy})
		}
	}
	was, is := old.GetProvenance(), changed.GetProvenance()
	if Known(was.GetDigitalSourceType()) {
		before, after := ClassOf(old), ClassOf(changed)
		keep(Known(is.GetDigitalSourceType()), "disclosure-source-type", "keep a known provenance.digital_source_type")
		keep(after <= before, "disclosure-class", "keep the film disclosed as "+texts[before].key+" or stricter; it would be "+texts[after].key)
	}
	if before := ParseLabel(was.GetAigcLabel().GetRaw()); before != nil {
		after := ParseLabel(is.GetAigcLabel().GetRaw())
		keep(after != nil && after.GetClass() <= before.GetClass(), "disclosure-label", "keep provenance.aigc_label, or one that says at least "+before.GetClass().String())
	}
	if was.GetC2Pa().GetManifestHash() != "" {
		keep(is.GetC2Pa().GetManifestHash() != "", "disclosure-manifest", "keep provenance.c2pa.manifest_hash, or give a newer one")
	}
	if len(lost) == 0 {
		return nil
	}
	e := fault.New(fault.FailedPrecondition, pb.ErrorReason_DISCLOSURE_WEAKENED, "%s: a disclosure may be strengthened, never weakened: %s", changed.GetName(), lost[0].Description)
	e.Violations = lost
	return e
}
