package shelf

import (
	"maps"
	"slices"
	"strings"

	pb "github.com/aitheater/theater/api/theater/v1"
)

// ratingBands says from which band on a rating lets a child in: the lowest band none of whose
// children is younger than the rating asks ("13" is more than the lower edge of AGE_12, so it
// maps to AGE_16). Advice to parents without an age ("PG") maps to AGE_8. A code means
// nothing without its market and system.
var ratingBands = map[string]map[string]map[string]pb.Film_AgeBand{
	"US": {
		"MPA": mpa, "MPAA": mpa,
		"TV": {
			"TV-Y": pb.Film_ALL, "TV-G": pb.Film_ALL,
			"TV-Y7": pb.Film_AGE_8, "TV-Y7-FV": pb.Film_AGE_8, "TV-PG": pb.Film_AGE_8,
			"TV-14": pb.Film_AGE_16, "TV-MA": pb.Film_AGE_18,
		},
	},
	"GB": {"BBFC": {
		"U": pb.Film_ALL, "PG": pb.Film_AGE_8, "12A": pb.Film_AGE_12, "12": pb.Film_AGE_12,
		"15": pb.Film_AGE_16, "18": pb.Film_AGE_18, "R18": pb.Film_AGE_18,
	}},
	"DE": {"FSK": {
		"0": pb.Film_ALL, "6": pb.Film_AGE_8, "12": pb.Film_AGE_12, "16": pb.Film_AGE_16, "18": pb.Film_AGE_18,
	}},
	"SG": {"IMDA": {
		"G": pb.Film_ALL, "PG": pb.Film_AGE_8, "PG13": pb.Film_AGE_16,
		"NC16": pb.Film_AGE_16, "M18": pb.Film_AGE_18, "R21": pb.Film_AGE_18,
	}},
}

var mpa = map[string]pb.Film_AgeBand{
	"G": pb.Film_ALL, "PG": pb.Film_AGE_8, "PG-13": pb.Film_AGE_16, "R": pb.Film_AGE_18, "NC-17": pb.Film_AGE_18,
}

// ratingBand gives the band a rating maps to; ok is false for an unknown system or code.
// Spelling in lower case or with spaces around is forgiven: a rating is there to be obeyed.
func ratingBand(r *pb.Rating) (band pb.Film_AgeBand, ok bool) {
	fold := func(s string) string { return strings.ToUpper(strings.TrimSpace(s)) }
	band, ok = ratingBands[r.GetMarket()][fold(r.GetSystem())][fold(r.GetCode())]
	return band, ok
}

// bars are the strictest bands by market, in the order of rated; 0 = no known rating.
type bars [8]uint8

// rated numbers the markets that have ratings, from 1; 0 = none.
var rated = func() (numbers [27 * 26]uint8) {
	for i, market := range slices.Sorted(maps.Keys(ratingBands)) {
		numbers[countryOf(market)] = uint8(i + 1)
	}
	return numbers
}()

// above reports whether the market's rating maps above a band.
func (b *bars) above(m country, band pb.Film_AgeBand) bool {
	n := rated[m]
	return n > 0 && b[n-1] > uint8(band)
}

// rating is the strictest known rating of one market, as cards show it.
type rating struct {
	market country
	wire   []byte // field FilmCard.rating, encoded
}

func ratingsOf(f *pb.Film) (out []rating, barred bars) {
	var strictest [len(barred)]*pb.Rating
	for _, r := range f.GetRatings() {
		if band, ok := ratingBand(r); ok {
			if n := rated[countryOf(r.GetMarket())] - 1; uint8(band) > barred[n] {
				barred[n], strictest[n] = uint8(band), r
			}
		}
	}
	for _, r := range strictest {
		if r != nil {
			out = append(out, rating{countryOf(r.GetMarket()), encodeRating(r)})
		}
	}
	return out, barred
}
