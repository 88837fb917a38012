package listing

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/generations"
	"github.com/aitheater/theater/internal/shelf"
)

// pick is one film chosen for a list.
type pick struct {
	film    *shelf.Entry
	verdict shelf.Verdict
	// entry is the film's place in the raw list; nil outside charts.
	entry *generations.Entry
	// rank is what is shown; 0 outside charts.
	rank int32
	// full adds the score and the places in other generations.
	full bool
}

// encoder appends the wire forms of answers to out. The field numbers are the schema's; a test
// compares with proto.Marshal.
type encoder struct {
	g    *glance
	out  []byte
	card []byte
	head []byte
	body []byte
}

// encoder gives an empty encoder; its buffers are used again after release.
func (s *Service) encoder(g *glance) *encoder {
	e, ok := s.encoders.Get().(*encoder)
	if !ok {
		e = new(encoder)
	}
	e.g, e.out = g, e.out[:0]
	return e
}

func (s *Service) release(e *encoder) {
	e.g = nil
	s.encoders.Put(e)
}

// wire gives a copy of what was encoded.
func (e *encoder) wire() []byte { return append(make([]byte, 0, len(e.out)), e.out...) }

func appendBytes(b []byte, field protowire.Number, v []byte) []byte {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	return protowire.AppendBytes(b, v)
}

func appendText(b []byte, field protowire.Number, v string) []byte {
	if v == "" {
		return b
	}
	b = protowire.AppendTag(b, field, protowire.BytesType)
	return protowire.AppendString(b, v)
}

func appendInt(b []byte, field protowire.Number, v int64) []byte {
	if v == 0 {
		return b
	}
	b = protowire.AppendTag(b, field, protowire.VarintType)
	return protowire.AppendVarint(b, uint64(v))
}

// rankedFilm appends a RankedFilm as the given field.
func (e *encoder) rankedFilm(field protowire.Number, p pick) {
	e.card = e.g.card(e.card[:0], p.film, p.verdict)
	e.head = appendInt(e.head[:0], 1, int64(p.rank))
	if p.full && p.entry != nil {
		e.head = appendInt(e.head, 2, int64(p.entry.Previous))
		e.head = appendInt(e.head, 3, int64(p.entry.Peak))
		if bits := math.Float64bits(p.entry.Score); bits != 0 {
			e.head = protowire.AppendTag(e.head, 4, protowire.Fixed64Type)
			e.head = protowire.AppendFixed64(e.head, bits)
		}
	}
	const cardField = 5
	e.out = protowire.AppendTag(e.out, field, protowire.BytesType)
	e.out = protowire.AppendVarint(e.out, uint64(len(e.head)+protowire.SizeTag(cardField)+protowire.SizeBytes(len(e.card))))
	e.out = append(e.out, e.head...)
	e.out = appendBytes(e.out, cardField, e.card)
}

// appendGeneration appends the Generation of a list as the given field, nothing for no list.
func appendGeneration(b []byte, field protowire.Number, l *generations.List) []byte {
	if l == nil {
		return b
	}
	at := appendInt(nil, 1, l.ComputeTime.Unix())
	at = appendInt(at, 2, int64(l.ComputeTime.Nanosecond()))
	m := appendInt(nil, 1, l.Number)
	m = appendText(m, 2, l.ChartRevisionID)
	m = appendBytes(m, 3, at)
	return appendBytes(b, field, m)
}

// section appends a HomeSection as the given field.
func (e *encoder) section(field protowire.Number, row *row, token string) {
	body := encoder{g: e.g, out: e.body[:0], card: e.card, head: e.head}
	body.out = appendText(body.out, 1, row.section.GetName())
	body.out = appendText(body.out, 2, row.title)
	body.out = appendInt(body.out, 3, int64(layoutOf(row.section)))
	for _, p := range row.picks {
		body.rankedFilm(4, p)
	}
	body.out = appendText(body.out, 5, token)
	body.out = appendGeneration(body.out, 6, row.list)
	e.out = appendBytes(e.out, field, body.out)
	e.card, e.head, e.body = body.card, body.head, body.out
}

// layoutOf is how a section is drawn; one that does not say is a row.
func layoutOf(s *pb.Section) pb.Section_Layout {
	if l := s.GetLayout(); l != pb.Section_LAYOUT_UNSPECIFIED {
		return l
	}
	return pb.Section_ROW
}
