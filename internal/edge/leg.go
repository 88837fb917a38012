package edge

import (
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// leg is one direction of a call over HTTP. With grpc-go a handler may return while another
// goroutine of its own still sends or receives, which the return then ends. net/http forbids
// it: what that goroutine holds may be another call's by then. So the end of a leg is waited
// for.
type leg struct {
	mu   sync.Mutex
	over atomic.Bool
}

// walk does one step, or fails when the leg has ended.
func (l *leg) walk(step func() error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over.Load() {
		return os.ErrDeadlineExceeded
	}
	return step()
}

// end lets no further step begin, and returns when none is under way. One that is gets cut.
func (l *leg) end(cut func()) {
	l.over.Store(true)
	if !l.mu.TryLock() {
		cut()
		l.mu.Lock()
	}
	l.mu.Unlock()
}

// stopReading fails whoever waits for bytes of the client, stopWriting whoever waits for the
// client to take some. Neither can fail itself: our connections have deadlines.
func (c *completed) stopReading() {
	_ = http.NewResponseController(c.ResponseWriter).SetReadDeadline(time.Now().Add(-time.Second))
}

func (c *completed) stopWriting() {
	_ = http.NewResponseController(c.ResponseWriter).SetWriteDeadline(time.Now().Add(-time.Second))
}
