package listing

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
)

// cursor is where a chain stands. All of its numbers have a fixed width in the token, so that
// the token's length says nothing about them.
type cursor struct {
	// number is the generation's, or of a section the id of its list of films.
	number int64
	// pos is the raw position to go on from.
	pos uint32
	// given is how many films the chain has given; it is also the last rank.
	given uint32

	// The rest is for sections.

	// pinned is the place of the last pin given.
	pinned uint32
	// began is when the chain began, in microseconds since 1970: pins are those of then.
	began int64
	// last is the name of the film before pos, to find the place again in another list.
	last string
}

const cursorSize = 8 + 4 + 4 + 4 + 8

func (c cursor) marshal() []byte {
	b := make([]byte, 0, cursorSize+len(c.last))
	b = binary.BigEndian.AppendUint64(b, uint64(c.number))
	b = binary.BigEndian.AppendUint32(b, c.pos)
	b = binary.BigEndian.AppendUint32(b, c.given)
	b = binary.BigEndian.AppendUint32(b, c.pinned)
	b = binary.BigEndian.AppendUint64(b, uint64(c.began))
	return append(b, c.last...)
}

// parseCursor is the inverse of marshal. What it is given was sealed by us, perhaps by another
// version.
func parseCursor(b []byte) (cursor, error) {
	if len(b) < cursorSize {
		return cursor{}, fmt.Errorf("a cursor of %d bytes", len(b))
	}
	c := cursor{
		number: int64(binary.BigEndian.Uint64(b)),
		pos:    binary.BigEndian.Uint32(b[8:]),
		given:  binary.BigEndian.Uint32(b[12:]),
		pinned: binary.BigEndian.Uint32(b[16:]),
		began:  int64(binary.BigEndian.Uint64(b[20:])),
		last:   string(b[cursorSize:]),
	}
	const most = 1 << 30
	if c.pos > most || c.given > most || c.pinned > most {
		return cursor{}, fmt.Errorf("a cursor out of range")
	}
	return c, nil
}

// paged is a request that pages.
type paged interface {
	proto.Message
	GetPageToken() string
}

// bind is what a token is bound to: the request without its paging, for the narrowed viewer.
func bind(req paged, v *pb.Viewer) ([]byte, error) {
	q := proto.Clone(req)
	switch q := q.(type) {
	case *pb.ListRankedFilmsRequest:
		q.Viewer, q.PageSize, q.PageToken = v, 0, ""
	case *pb.ListSectionFilmsRequest:
		q.Viewer, q.PageSize, q.PageToken = v, 0, ""
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(q)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(b)
	return sum[:], nil
}

// seal makes the token of a cursor.
func (s *Service) seal(method string, c cursor, bound []byte) string {
	return s.Keys.Seal(method, c.marshal(), bound)
}

// open reads the token of a request; first is true when there is none.
func (s *Service) open(method, token string, bound []byte) (c cursor, first bool, err error) {
	if token == "" {
		return cursor{}, true, nil
	}
	plain, err := s.Keys.Open(method, token, bound)
	if err == nil {
		c, err = parseCursor(plain)
	}
	if err != nil {
		bad := fault.New(fault.InvalidArgument, pb.ErrorReason_INVALID_PAGE_TOKEN, "page_token: altered, foreign, or made for other arguments")
		bad.Fields = []fault.Field{{Path: "page_token", Rule: "must come from the answer before, with the same arguments"}}
		bad.Cause = err
		return cursor{}, false, bad
	}
	return c, false, nil
}

func micros(us int64) time.Time { return time.UnixMicro(us).UTC() }

// expired says that a chain cannot go on.
func expired() error {
	return fault.New(fault.FailedPrecondition, pb.ErrorReason_SNAPSHOT_EXPIRED, "page_token: the list it was cut from is gone; start again from the first page")
}
