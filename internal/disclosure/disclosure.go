// Package disclosure holds the law by market as versioned data: what must be so before a
// film is published, what must be so while it is shown, and what a surface must say about
// how it was made. Pure functions; the time is an argument.
package disclosure

import (
	"time"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
)

// Known reports whether the film's digital source type is one of IPTC's, http or https form.
func Known(digitalSourceType string) bool { panic("to be written") }

// Publish gives the unmet publish rules of each market the film's availability names, as of
// a time. children says whether a genre of the film is made for children.
func Publish(f *pb.Film, children bool, at time.Time) []fault.Violation { panic("to be written") }

// Showable gives the markets whose showing rules the film fails at some time. The gate closes
// there; nil for most films. (Filled by the rules; the gate asks once per film change.)
func Showable(f *pb.Film, market string, at time.Time) bool { panic("to be written") }

// Card gives the disclosure for a film's card in a market and language, never nil. What
// differs between two films is only their Class.
func Card(class Class, market, language string, at time.Time) *pb.Disclosure { panic("to be written") }

// Class is how a film was made, as far as disclosure cares.
type Class uint8

// ClassOf reads the class from the film's provenance; the strictest when in doubt.
func ClassOf(f *pb.Film) Class { panic("to be written") }
