package generations

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
)

// A blob is what Redis and SQL hold:
//
//	"ATGN" schema kind  uvarint(len key) key  uvarint(number) uvarint(count) uvarint(len body)
//	HMAC-SHA256 over everything but itself  body
//
// Key and number are part of what is authenticated, so that a blob found under another
// name is as foreign as one that somebody else wrote. The versions before and after this one
// run beside it on the same Redis, so another schema is read by a release before one writes it.
const (
	magic  = "ATGN"
	schema = 1

	kindList  = 'L'
	kindIndex = 'I'
	kindStats = 'S'

	macSize    = sha256.Size
	filmPrefix = "films/"
)

// errForeign says that bytes are not the blob asked for: truncated, altered, of another
// kind, key or number, or not ours at all.
var errForeign = errors.New("not the blob asked for")

// id names a blob: a chart in a market; the index and the shards of the counts use the
// chart field for their own names.
type id struct{ chart, market string }

func (k id) String() string { return k.chart + "|" + k.market }

// header is what stands before the body.
type header struct {
	kind   byte
	key    string
	number int64
	count  int
	body   int
}

func appendHeader(b []byte, h header) []byte {
	b = append(b, magic...)
	b = append(b, schema, h.kind)
	b = appendString(b, h.key)
	b = binary.AppendUvarint(b, uint64(h.number))
	b = binary.AppendUvarint(b, uint64(h.count))
	return binary.AppendUvarint(b, uint64(h.body))
}

func mac(secret, head, body []byte) []byte {
	m := hmac.New(sha256.New, secret)
	m.Write(head)
	m.Write(body)
	return m.Sum(nil)
}

// seal makes a blob.
func seal(secret []byte, kind byte, key id, number int64, count int, body []byte) []byte {
	head := appendHeader(make([]byte, 0, 64+macSize+len(body)), header{kind, key.String(), number, count, len(body)})
	return append(append(head, mac(secret, head, body)...), body...)
}

// open checks a blob. number 0 takes any number. A nil secret leaves the HMAC unchecked, for
// blobs out of SQL: there it is the database that is believed, and a root secret may have
// changed since.
func open(secret []byte, kind byte, key id, number int64, blob []byte) (header, []byte, error) {
	r := reader{b: blob}
	if string(r.take(len(magic))) != magic || r.byte() != schema {
		return header{}, nil, errForeign
	}
	h := header{kind: r.byte(), key: r.string(), number: r.int(math.MaxInt64), count: int(r.int(math.MaxInt32)), body: int(r.int(math.MaxInt32))}
	head := blob[:len(blob)-len(r.b)]
	sum := r.take(macSize)
	switch {
	case r.bad, len(r.b) != h.body, h.kind != kind, h.key != key.String(), number != 0 && h.number != number:
		return header{}, nil, errForeign
	case secret != nil && !hmac.Equal(sum, mac(secret, head, r.b)):
		return header{}, nil, errForeign
	}
	return h, r.b, nil
}

func encodeList(l *List) []byte {
	b := make([]byte, 0, 64+len(l.Entries)*32)
	b = appendString(b, l.ChartRevisionID)
	b = binary.AppendVarint(b, l.ComputeTime.UnixMicro())
	b = binary.AppendUvarint(b, uint64(l.Head))
	b = append(b, l.TraceID[:]...)
	b = append(b, l.SpanID[:]...)
	for i := range l.Entries {
		e := &l.Entries[i]
		b = appendString(b, strings.TrimPrefix(e.Film, filmPrefix))
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(e.Score))
		b = binary.AppendUvarint(b, uint64(uint32(e.Rank)))
		b = binary.AppendUvarint(b, uint64(uint32(e.Previous)))
		b = binary.AppendUvarint(b, uint64(uint32(e.Peak)))
	}
	return b
}

// decodeList is the inverse of encodeList; intern shares the films' names between lists.
func decodeList(key id, h header, body []byte, intern func([]byte) string) (*List, error) {
	r := reader{b: body}
	l := &List{Chart: key.chart, Market: key.market, Number: h.number, ChartRevisionID: r.string()}
	l.ComputeTime = time.UnixMicro(r.varint()).UTC()
	l.Head = int(r.int(math.MaxInt32))
	copy(l.TraceID[:], r.take(len(l.TraceID)))
	copy(l.SpanID[:], r.take(len(l.SpanID)))
	const smallest = 1 + 8 + 3 // an entry's bytes: a count that promises more is a lie
	if h.count > len(r.b)/smallest {
		return nil, errForeign
	}
	l.Entries = make([]Entry, h.count)
	for i := range l.Entries {
		e := &l.Entries[i]
		e.Film = intern(r.take(int(r.int(math.MaxInt32))))
		if score := r.take(8); score != nil {
			e.Score = math.Float64frombits(binary.LittleEndian.Uint64(score))
		}
		e.Rank, e.Previous, e.Peak = int32(r.int(math.MaxInt32)), int32(r.int(math.MaxInt32)), int32(r.int(math.MaxInt32))
	}
	if r.bad || len(r.b) != 0 {
		return nil, errForeign
	}
	return l, nil
}

// index says which number is the latest of every list and of every shard of the counts.
type index struct {
	number int64
	lists  map[id]int64
}

func encodeIndex(x *index) []byte {
	var b []byte
	for key, number := range x.lists {
		b = appendString(appendString(b, key.chart), key.market)
		b = binary.AppendUvarint(b, uint64(number))
	}
	return b
}

func decodeIndex(h header, body []byte) (*index, error) {
	r := reader{b: body}
	if h.count > len(body)/3 {
		return nil, errForeign
	}
	x := &index{number: h.number, lists: make(map[id]int64, h.count)}
	for range h.count {
		x.lists[id{r.string(), r.string()}] = r.int(math.MaxInt64)
	}
	if r.bad || len(r.b) != 0 {
		return nil, errForeign
	}
	return x, nil
}

func encodeStats(stats map[string]*pb.FilmStats, films []string) ([]byte, error) {
	var b []byte
	for _, film := range films {
		body, err := proto.MarshalOptions{Deterministic: true}.Marshal(stats[film])
		if err != nil {
			return nil, fmt.Errorf("encode the counts of %s: %w", film, err)
		}
		b = appendString(appendString(b, strings.TrimPrefix(film, filmPrefix)), string(body))
	}
	return b, nil
}

func decodeStats(h header, body []byte, intern func([]byte) string) (map[string]*pb.FilmStats, error) {
	r := reader{b: body}
	if h.count > len(body)/2 {
		return nil, errForeign
	}
	stats := make(map[string]*pb.FilmStats, h.count)
	for range h.count {
		film := intern(r.take(int(r.int(math.MaxInt32))))
		s := &pb.FilmStats{}
		if err := proto.Unmarshal(r.take(int(r.int(math.MaxInt32))), s); err != nil {
			return nil, errForeign
		}
		stats[film] = s
	}
	if r.bad || len(r.b) != 0 {
		return nil, errForeign
	}
	return stats, nil
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// reader takes a blob apart; once it ran out of bytes it is bad for good and gives zeros.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n < 0 || n > len(r.b) {
		r.bad = true
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) int(limit uint64) int64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > limit {
		r.bad = true
		return 0
	}
	r.take(n)
	return int64(v)
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.bad = true
		return 0
	}
	r.take(n)
	return v
}

func (r *reader) string() string { return string(r.take(int(r.int(math.MaxInt32)))) }
