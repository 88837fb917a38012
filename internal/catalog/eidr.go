package catalog

import (
	"regexp"
	"strings"
)

var eidrForm = regexp.MustCompile(`^10\.5240/([0-9A-Fa-f]{4}-){5}[0-9A-Za-z]$`)

// eidrRule gives the rule an EIDR content id breaks, or "". The last character is the check
// character of ISO 7064 Mod 37,36 over the twenty hexadecimal digits before it.
func eidrRule(id string) string {
	if !eidrForm.MatchString(id) {
		return "an EIDR id is written 10.5240/XXXX-XXXX-XXXX-XXXX-XXXX-C"
	}
	digits := strings.ToUpper(strings.ReplaceAll(id[len("10.5240/"):], "-", ""))
	body, check := digits[:20], rune(digits[20])
	if want := mod3736(body); check != want {
		return "the check character of the EIDR id must be " + string(want)
	}
	return ""
}

// mod3736 is the check character of ISO/IEC 7064, MOD 37,36 (hybrid system) for s, which
// holds digits and capital letters only.
func mod3736(s string) rune {
	const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	p := 36
	for _, c := range s {
		sum := (p + strings.IndexRune(alphabet, c)) % 36
		if sum == 0 {
			sum = 36
		}
		p = sum * 2 % 37
	}
	return rune(alphabet[(37-p)%36])
}
