package disclosure

import (
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
)

// notice is a rule that decides what is said, and where.
type notice struct {
	Rule
	markets []string
	// strict makes one of all classes with a machine's part.
	strict bool
	// prefixed puts the Chinese words before the text of another language.
	prefixed bool
	// opening is for how long at least the text stands at the start; 0 = not said.
	opening time.Duration
	// share is the least height of the text, of the picture's shortest side; 0 = not said.
	share float64
}

// house speaks where no law does: the strictest of all.
var house = notice{
	Rule: Rule{ID: "house-strictest", Kind: pb.Rule_DISCLOSURE, LegalBasis: "rule of the house",
		Description: "whatever a machine had a part in is called AI-generated, at the start and around the player"},
	markets: []string{""}, strict: true, opening: 2 * time.Second, share: 0.05,
}

var europeanUnion = []string{"AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT", "LT", "LU", "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK"}

// notices are the rules of markets; a market may have several, one after the other in time.
// The first in force decides; the house rule is the last.
var notices = []notice{
	{
		Rule: Rule{ID: "cn-aigc-label", Kind: pb.Rule_DISCLOSURE, LegalBasis: cnLabeling, Effective: day(2025, 9, 1),
			Description: "a visible label at the start (2 s, 5 % of the shortest side) and around the player, by what the label in the file says: generated, may be, suspected; and the label in the file"},
		markets: []string{"CN"}, prefixed: true, opening: 2 * time.Second, share: 0.05,
	},
	{
		Rule: Rule{ID: "eu-ai-act-50", Kind: pb.Rule_DISCLOSURE, LegalBasis: "Regulation (EU) 2024/1689, Art. 50(4) and (5), applies since 2026-08-02", Effective: day(2026, 8, 2),
			Description: "generated or altered content is disclosed, in works of art and fiction in a manner that does not hamper their enjoyment"},
		markets: europeanUnion,
	},
	{
		Rule: Rule{ID: "kr-ai-basic-act", Kind: pb.Rule_DISCLOSURE, LegalBasis: "AI Basic Act, in force 2026-01-22", Effective: day(2026, 1, 22),
			Description: "an indicator that the content was made by generative AI"},
		markets: []string{"KR"},
	},
	{
		Rule: Rule{ID: "us-ca-sb-942", Kind: pb.Rule_DISCLOSURE, LegalBasis: "California SB 942, operative 2026-08-02", Effective: day(2026, 8, 2),
			Description: "a manifest and a latent disclosure of generated content; shown in all of the United States"},
		markets: []string{"US"}, opening: 2 * time.Second,
	},
	house,
}

// noticeOf gives the index in notices of the rule that speaks in a market at a time.
func noticeOf(market string, at int64) int {
	for _, i := range byMarket[market] {
		if notices[i].inForce(at) {
			return i
		}
	}
	return len(notices) - 1
}

var byMarket = func() map[string][]int {
	out := map[string][]int{}
	for i := range notices {
		for _, m := range notices[i].markets {
			out[m] = append(out[m], i)
		}
	}
	return out
}()

// changes are the times at which a notice begins or ends to speak, in order.
var changes = func() (times []int64) {
	for i := range notices {
		for _, t := range []int64{notices[i].from(), notices[i].to()} {
			if t != always && t != never {
				times = append(times, t)
			}
		}
	}
	slices.Sort(times)
	return slices.Compact(times)
}()

// NextChange is the first time after at, in microseconds since 1970, at which a rule begins
// or ends and so a disclosure may change; math.MaxInt64 when none is known.
func NextChange(at int64) int64 {
	if len(changes) == 0 || at >= changes[len(changes)-1] {
		return never
	}
	i, found := slices.BinarySearch(changes, at)
	if found {
		i++
	}
	return changes[i]
}

// Notice is what a card says, ready for the wire. It is shared: do not change it.
type Notice struct {
	Disclosure *pb.Disclosure
	Wire       []byte
}

// encoded are all notices there can be, by rule, class and language.
var encoded = func() [][classes][]*Notice {
	out := make([][classes][]*Notice, len(notices))
	for i := range notices {
		for c := range classes {
			for l := range Languages {
				out[i][c] = append(out[i][c], newNotice(&notices[i], Class(c), l))
			}
		}
	}
	return out
}()

func newNotice(n *notice, class Class, language int) *Notice {
	if n.strict && class < Assisted {
		class = Generated
	}
	text := texts[class].in[language]
	if n.prefixed && !strings.HasPrefix(Languages[language], "zh") {
		text = texts[class].in[chinese] + " · " + text
	}
	d := &pb.Disclosure{Key: texts[class].key, Text: text, Rule: n.ID}
	wire, err := proto.MarshalOptions{Deterministic: true}.Marshal(d)
	if err != nil {
		panic(err) // three strings of our own
	}
	return &Notice{Disclosure: d, Wire: wire}
}

// languageIndex gives the index of one of Languages; what is not among them gives English.
func languageIndex(language string) int {
	return max(slices.Index(Languages, language), 0)
}

// CardNotice gives the notice for a film's card in a market and one of Languages (else in
// English), never nil. What differs between two films is only their Class.
func CardNotice(class Class, market, language string, at int64) *Notice {
	if int(class) >= classes {
		class = Generated
	}
	return encoded[noticeOf(market, at)][class][languageIndex(language)]
}

// Card is CardNotice's message; it must not be changed.
func Card(class Class, market, language string, at time.Time) *pb.Disclosure {
	return CardNotice(class, market, language, at.UnixMicro()).Disclosure
}
