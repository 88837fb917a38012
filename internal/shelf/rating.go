package shelf

import (
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

// rating is the strictest known rating of one market.
type rating struct {
	market country
	band   uint8
	wire   []byte // field FilmCard.rating, encoded
}

func ratingsOf(f *pb.Film) []rating {
	var out []rating
	for _, r := range f.GetRatings() {
		band, ok := ratingBand(r)
		if !ok {
			continue
		}
		market := countryOf(r.GetMarket())
		at := -1
		for i := range out {
			if out[i].market == market {
				at = i
			}
		}
		switch {
		case at < 0:
			out = append(out, rating{market, uint8(band), encodeRating(r)})
		case uint8(band) > out[at].band:
			out[at].band, out[at].wire = uint8(band), encodeRating(r)
		}
	}
	return out
}
