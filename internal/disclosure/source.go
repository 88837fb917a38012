package disclosure

import (
	"strings"

	pb "github.com/aitheater/theater/api/theater/v1"
)

// sourceTypes is IPTC's digital source type vocabulary, its retired terms too, each with
// what it says of the machine's part.
//
// Source: http://cv.iptc.org/newscodes/digitalsourcetype/
var sourceTypes = map[string]Class{
	"trainedAlgorithmicMedia":              Generated,
	"algorithmicMedia":                     Generated,
	"compositeSynthetic":                   Composite,
	"compositeWithTrainedAlgorithmicMedia": Composite,
	"composite":                            Composite,
	"algorithmicallyEnhanced":              Assisted,
	"dataDrivenMedia":                      Assisted,
	"virtualRecording":                     Assisted,
	"softwareImage":                        Assisted,
	"digitalCreation":                      Assisted,
	"digitalArt":                           Assisted,
	"humanEdits":                           Captured,
	"minorHumanEdits":                      Captured,
	"compositeCapture":                     Captured,
	"computationalCapture":                 Captured,
	"multiFrameComputationalCapture":       Captured,
	"digitalCapture":                       Captured,
	"screenCapture":                        Captured,
	"negativeFilm":                         Captured,
	"positiveFilm":                         Captured,
	"print":                                Captured,
}

// SourceTypeBase is the address of IPTC's vocabulary.
const SourceTypeBase = "http://cv.iptc.org/newscodes/digitalsourcetype/"

// NormalizeSourceType gives IPTC's own form of a digital source type: http instead of https,
// no slash at the end. What is not under IPTC's address is returned as it is.
func NormalizeSourceType(uri string) string {
	rest := strings.TrimPrefix(strings.TrimPrefix(uri, "https://"), "http://")
	term, ok := strings.CutPrefix(rest, strings.TrimPrefix(SourceTypeBase, "http://"))
	if !ok || rest == uri {
		return uri
	}
	return SourceTypeBase + strings.TrimSuffix(term, "/")
}

// Known reports whether the film's digital source type is one of IPTC's, http or https form.
func Known(digitalSourceType string) bool {
	_, ok := classOfSource(digitalSourceType)
	return ok
}

func classOfSource(uri string) (Class, bool) {
	term, ok := strings.CutPrefix(NormalizeSourceType(uri), SourceTypeBase)
	if !ok {
		return Generated, false
	}
	class, ok := sourceTypes[term]
	return class, ok
}

// Class is how a film was made, as far as disclosure cares.
type Class uint8

// The classes, strictest first; the zero value is the one to fall back on.
const (
	// Generated: made by machine.
	Generated Class = iota
	// Composite: new work mixing generated and other elements, or captured media altered.
	Composite
	// Possible: declared as made otherwise, with a label that says "may be".
	Possible
	// Suspected: declared as made otherwise, with a label that suspects, or a broken one.
	Suspected
	// Assisted: made by people with software.
	Assisted
	// Captured: recorded from life.
	Captured
	classes int = iota
)

// ClassOf reads the class from the film's provenance; the strictest of what source type,
// stages and label say, and Generated when the source type is unknown.
func ClassOf(f *pb.Film) Class {
	p := f.GetProvenance()
	class, known := classOfSource(p.GetDigitalSourceType())
	if !known {
		return Generated
	}
	for _, stage := range p.GetStages() {
		if stage.GetAiShare() > 0 {
			class = min(class, Composite)
		}
	}
	label := p.GetAigcLabel()
	if label.GetClass() == pb.AigcLabel_CLASS_UNSPECIFIED {
		label = ParseLabel(label.GetRaw())
	}
	switch label.GetClass() {
	case pb.AigcLabel_CONFIRMED:
		class = Generated
	case pb.AigcLabel_POSSIBLE:
		class = min(class, Possible)
	case pb.AigcLabel_SUSPECTED:
		class = min(class, Suspected)
	}
	return class
}
