package theatertest

import (
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Proxy is a TCP line to a server that a test can break. Faults act on open connections too,
// from the next bytes on, and last until Heal.
type Proxy struct {
	// Addr is where to dial instead of the target.
	Addr string

	first    string // the server NewProxy was given
	target   atomic.Pointer[string]
	listener net.Listener
	fault    atomic.Pointer[fault]

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	wg    sync.WaitGroup
}

// fault is the present state of the line; the zero value is a good one. It is never changed
// but replaced, and changed is closed when that happens.
type fault struct {
	delay     time.Duration
	rate      int // bytes per second, 0 = unlimited
	blackHole bool
	refuse    bool
	corrupt   bool
	changed   chan struct{}
}

// NewProxy starts a proxy to target (host:port), which ends with the test.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Addr: l.Addr().String(), first: target, listener: l, conns: map[net.Conn]struct{}{}}
	p.target.Store(&target)
	p.fault.Store(&fault{changed: make(chan struct{})})
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		p.set(fault{refuse: true})
		p.closeAll(false)
		p.wg.Wait()
	})
	return p
}

// URL is the first server's URL by way of the proxy.
func (p *Proxy) URL(url string) string { return strings.Replace(url, p.first, p.Addr, 1) }

// Redirect leads new connections to another server (host:port) and breaks those there are, as
// a fail-over does.
func (p *Proxy) Redirect(target string) {
	p.target.Store(&target)
	p.closeAll(true)
}

// Heal makes the line good again.
func (p *Proxy) Heal() { p.set(fault{}) }

// Delay holds every piece of data back for d, in each direction.
func (p *Proxy) Delay(d time.Duration) { p.set(fault{delay: d}) }

// Throttle lets n bytes pass in a second, in each direction of each connection.
func (p *Proxy) Throttle(n int) { p.set(fault{rate: n}) }

// BlackHole takes everything, new connections too, and delivers nothing until Heal.
func (p *Proxy) BlackHole() { p.set(fault{blackHole: true}) }

// Corrupt flips a bit of every piece of data that comes from the server.
func (p *Proxy) Corrupt() { p.set(fault{corrupt: true}) }

// Cut closes all connections and every new one at once.
func (p *Proxy) Cut() {
	p.set(fault{refuse: true})
	p.closeAll(false)
}

// Reset breaks all open connections with a TCP reset; new ones are good.
func (p *Proxy) Reset() { p.closeAll(true) }

func (p *Proxy) set(f fault) {
	f.changed = make(chan struct{})
	close(p.fault.Swap(&f).changed)
}

func (p *Proxy) closeAll(reset bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		if tcp, ok := c.(*net.TCPConn); ok && reset {
			_ = tcp.SetLinger(0)
		}
		_ = c.Close()
	}
}

// track remembers a connection until it is forgotten, so that faults can close it.
func (p *Proxy) track(c net.Conn) {
	p.mu.Lock()
	p.conns[c] = struct{}{}
	p.mu.Unlock()
}

func (p *Proxy) forget(c net.Conn) {
	_ = c.Close()
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
}

func (p *Proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.track(c)
		if p.fault.Load().refuse {
			p.forget(c)
			continue
		}
		p.wg.Go(func() { p.serve(c) })
	}
}

func (p *Proxy) serve(client net.Conn) {
	defer p.forget(client)
	if !p.open() {
		return
	}
	server, err := net.DialTimeout("tcp", *p.target.Load(), 5*time.Second)
	if err != nil {
		return
	}
	p.track(server)
	defer p.forget(server)
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.pipe(server, client, false)
		_ = server.Close()
	}()
	p.pipe(client, server, true)
	_ = client.Close()
	<-done
}

// open waits out a black hole; false = the line was cut meanwhile.
func (p *Proxy) open() bool {
	for {
		f := p.fault.Load()
		if f.refuse {
			return false
		}
		if !f.blackHole {
			return true
		}
		<-f.changed
	}
}

func (p *Proxy) pipe(to io.Writer, from io.Reader, fromServer bool) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if !p.open() {
				return
			}
			f := p.fault.Load()
			wait := f.delay
			if f.rate > 0 {
				wait += time.Duration(n) * time.Second / time.Duration(f.rate)
			}
			if wait > 0 {
				select {
				case <-time.After(wait):
				case <-f.changed:
				}
			}
			if f.corrupt && fromServer {
				buffer[n/2] ^= 0x10
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
