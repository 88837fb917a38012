package rank

import (
	"math"
	"strconv"
)

// score is a number m·2^e with m in [0.5, 1), or 0: what a double is, but without its ends. A sum
// that halved a thousand times still has its order and its digits.
type score struct {
	m float64
	e int
}

func scoreOf(x float64) score {
	m, e := math.Frexp(x)
	return score{m, e}
}

// float gives the nearest double; 0 where the score is smaller than any.
func (s score) float() float64 {
	if s.e < -1100 {
		return 0
	}
	return math.Ldexp(s.m, s.e)
}

// normal brings m back into [0.5, 1).
func (s score) normal() score {
	m, e := math.Frexp(s.m)
	if m == 0 {
		return score{}
	}
	return score{m, s.e + e}
}

// plus adds a normal score, which may be below 0. The sum's exponent is that of the largest the
// sum ever was, and its mantissa below 1: how far that is below 1/2 is how many bits differences
// have cost. normal forgets it.
func (s score) plus(t score) score {
	switch {
	case s.m == 0:
		return t
	case t.m == 0:
		return s
	case s.e < t.e:
		s, t = t, s
	}
	sum := score{s.m + t.m*exp2i(t.e-s.e), s.e}
	if sum.m >= 1 {
		return sum.normal()
	}
	return sum
}

func (s score) times(x float64) score { return score{s.m * x, s.e}.normal() }

func (s score) over(t score) score { return score{s.m / t.m, s.e - t.e}.normal() }

// exp2i is 2^d for d ≤ 0.
func exp2i(d int) float64 {
	if d < -1022 {
		return 0
	}
	return math.Float64frombits(uint64(1023+d) << 52)
}

// decay is 2^(−age/halfLife), for age and halfLife in the same unit. Whole half-lives are
// counted in integers, so that it is as exact after twenty years as after a minute.
func decay(age, halfLife int64) score {
	whole, rest := age/halfLife, age%halfLife
	return score{math.Exp2(-float64(rest) / float64(halfLife)), int(-whole)}.normal()
}

const (
	// tieDigits is to how many significant digits scores are compared.
	tieDigits = 12
	// surely is beyond which relative distance two numbers differ in tieDigits digits.
	surely = 1.1e-11
	// tiny is the exponent below which a double begins to lose digits.
	tiny = -960
)

// compare orders scores by their first 12 significant digits: negative when a is smaller. It
// is a total preorder: it compares the rounded numbers, and looks at the digits only where
// the plain numbers are close.
func compare(a, b score) int {
	switch {
	case a.m == 0 || b.m == 0:
		return sign(a.m - b.m)
	case a.e-b.e > 1:
		return 1
	case b.e-a.e > 1:
		return -1
	}
	x, y := a.m, math.Ldexp(b.m, b.e-a.e)
	if math.Abs(x-y) > surely*max(x, y) {
		return sign(x - y)
	}
	if a.e < tiny || b.e < tiny || a.e > -tiny || b.e > -tiny {
		// No double holds these with all their digits, so that there are no decimal digits to
		// compare; 40 bits are as many.
		if a.e != b.e {
			return sign(float64(a.e - b.e))
		}
		return sign(math.Round(math.Ldexp(a.m, 40)) - math.Round(math.Ldexp(b.m, 40)))
	}
	return sign(digits(a.float()) - digits(b.float()))
}

// digits rounds to 12 significant digits, by way of 15: a number that is exactly halfway,
// such as 2^−18, falls to the same side also when a sum missed it by its last bit.
func digits(x float64) float64 {
	return round(round(x, tieDigits+3), tieDigits)
}

func round(x float64, n int) float64 {
	var buf [32]byte
	rounded, err := strconv.ParseFloat(string(strconv.AppendFloat(buf[:0], x, 'e', n-1, 64)), 64)
	if err != nil {
		return x // only beyond the largest double
	}
	return rounded
}

func sign(x float64) int {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return 0
}

// bayes is the mean of n ratings of the given sum, drawn towards the mean c of all by m
// imagined ratings: (sum + m·c)/(n + m), as IMDb publishes it for its Top 250.
func bayes(sum, n, m, c float64) float64 { return (sum + m*c) / (n + m) }

// wilson is the lower bound of the score interval of Wilson ("Probable Inference, the Law of
// Succession, and Statistical Inference", JASA 22, 1927) for positive successes out of n > 0
// at the normal quantile z; never below 0.
func wilson(positive, n, z float64) float64 {
	if positive == 0 {
		return 0 // not the noise of two roundings
	}
	p := positive / n
	zz := z * z / n
	low := (p + zz/2 - math.Sqrt(zz*(p*(1-p)+zz/4))) / (1 + zz)
	return max(low, 0)
}
