package catalog

import (
	"crypto/sha256"
	"encoding/json"

	"google.golang.org/protobuf/proto"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
)

const (
	defaultPage = 20
	maxPage     = 100
)

// position is where a chain of pages goes on; it travels sealed inside the page token.
type position struct {
	// Last is the name of the last item given.
	Last string `json:"l,omitempty"`
	// Offset is how many items were given, for when Last is gone.
	Offset int `json:"o,omitempty"`
	// Total is how many items matched when the chain began.
	Total int32 `json:"t,omitempty"`
}

// start is the index of the next item of a list: after Last, or at Offset where Last is not
// in the list any more.
func (p *position) start(name func(i int) string, n int) int {
	if p.Last == "" {
		return 0
	}
	if at := p.Offset - 1; at >= 0 && at < n && name(at) == p.Last {
		return p.Offset
	}
	for i := range n {
		if name(i) == p.Last {
			return i + 1
		}
	}
	return p.Offset
}

type paged interface {
	proto.Message
	GetPageSize() int32
	GetPageToken() string
}

// openPage gives the size of the page asked for and where it begins. bind is the request
// without page_size and page_token: a token is good for these arguments only.
func (s *Service) openPage(method string, req paged, bind proto.Message) (int, *position, error) {
	size := int(req.GetPageSize())
	switch {
	case size < 0:
		return 0, nil, fault.Invalid("page_size", "must not be negative")
	case size == 0:
		size = defaultPage
	case size > maxPage:
		size = maxPage
	}
	from := &position{}
	if req.GetPageToken() == "" {
		return size, from, nil
	}
	digest, err := digestOf(bind)
	if err != nil {
		return 0, nil, err
	}
	plain, err := s.keys.Open(serviceName+method, req.GetPageToken(), digest)
	if err == nil {
		err = json.Unmarshal(plain, from)
	}
	if err != nil {
		e := fault.Invalid("page_token", "is altered, of another server, or of other arguments")
		e.Reason = pb.ErrorReason_INVALID_PAGE_TOKEN
		return 0, nil, e
	}
	return size, from, nil
}

func (s *Service) sealPage(method string, at *position, bind proto.Message) (string, error) {
	digest, err := digestOf(bind)
	if err != nil {
		return "", err
	}
	plain, err := json.Marshal(at)
	if err != nil {
		return "", err
	}
	return s.keys.Seal(serviceName+method, plain, digest), nil
}

func digestOf(m proto.Message) ([]byte, error) {
	wire, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(wire)
	return sum[:], nil
}
