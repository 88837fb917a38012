package resource

import (
	"crypto/sha256"
	"encoding/json"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
	"github.com/aitheater/theater/internal/fault"
)

const (
	defaultPage = 20
	maxPage     = 100
)

// Position is where a chain of pages goes on; it travels sealed inside the page token.
type Position struct {
	// Last is the name of the last item given.
	Last string `json:"l,omitempty"`
	// Revision is that of the last item, where a list is ordered by what edits change.
	Revision int64 `json:"r,omitempty"`
	// Offset is how many items were given, for when Last is gone.
	Offset int `json:"o,omitempty"`
	// Total is how many items matched when the chain began.
	Total int32 `json:"t,omitempty"`
}

// PageRequest is what requests for pages share.
type PageRequest interface {
	proto.Message
	GetPageSize() int32
	GetPageToken() string
}

// OpenPage gives the size of the page asked for and where it begins. A token is good only
// for the method and the arguments it was sealed for.
func OpenPage(keys *auth.Keys, method string, req PageRequest) (size int, at Position, err error) {
	size = int(req.GetPageSize())
	switch {
	case size < 0:
		return 0, at, fault.Invalid("page_size", "must not be negative")
	case size == 0:
		size = defaultPage
	case size > maxPage:
		size = maxPage
	}
	if req.GetPageToken() == "" {
		return size, at, nil
	}
	bound, err := bind(req)
	if err != nil {
		return 0, at, err
	}
	plain, err := keys.Open(method, req.GetPageToken(), bound)
	if err == nil {
		err = json.Unmarshal(plain, &at)
	}
	if err != nil || at.Offset < 0 {
		e := fault.Invalid("page_token", "is altered, of another server, or of other arguments")
		e.Reason = pb.ErrorReason_INVALID_PAGE_TOKEN
		return 0, at, e
	}
	return size, at, nil
}

// Page cuts one page out of all items, which are in a stable order by key, and gives the
// token of the next one, empty on the last. total is how many there were when the chain began.
func Page[T any](keys *auth.Keys, method string, req PageRequest, items []T, key func(T) string) (page []T, next string, total int32, err error) {
	size, at, err := OpenPage(keys, method, req)
	if err != nil {
		return nil, "", 0, err
	}
	if req.GetPageToken() == "" {
		at.Total = int32(len(items))
	}
	from := at.start(func(i int) string { return key(items[i]) }, len(items))
	items = items[min(from, len(items)):]
	if len(items) > size {
		items = items[:size]
		next, err = SealPage(keys, method, req, Position{Last: key(items[size-1]), Offset: at.Offset + size, Total: at.Total})
	}
	return items, next, at.Total, err
}

// start is the index of the next item of a list: after Last, or at Offset where Last is not
// in the list any more.
func (p Position) start(key func(i int) string, n int) int {
	if p.Last == "" {
		return p.Offset
	}
	if at := p.Offset - 1; at >= 0 && at < n && key(at) == p.Last {
		return p.Offset
	}
	for i := range n {
		if key(i) == p.Last {
			return i + 1
		}
	}
	return p.Offset
}

// SealPage makes the token of the page that begins at a position.
func SealPage(keys *auth.Keys, method string, req PageRequest, at Position) (string, error) {
	bound, err := bind(req)
	if err != nil {
		return "", err
	}
	plain, err := json.Marshal(at)
	if err != nil {
		return "", err
	}
	return keys.Seal(method, plain, bound), nil
}

// bind is the digest of a request without page_size and page_token.
func bind(req proto.Message) ([]byte, error) {
	m := proto.Clone(req)
	for _, name := range []protoreflect.Name{"page_size", "page_token"} {
		if field := m.ProtoReflect().Descriptor().Fields().ByName(name); field != nil {
			m.ProtoReflect().Clear(field)
		}
	}
	wire, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(wire)
	return sum[:], nil
}
