package theatertest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Server is a server process a test may stop, kill, pause and start again on the same
// address and data.
type Server struct {
	// URL is what clients dial.
	URL string
	// Addr is host:port of the URL.
	Addr string

	argv   []string
	dir    string
	sys    *syscall.SysProcAttr
	remove bool // the folder goes when the server ends
	ready  func(context.Context) error

	mu    sync.Mutex
	cmd   *exec.Cmd
	guard io.Closer
	pid   int
}

// guarded runs "$@", says its pid on 3, stops it when the pipe on 4 breaks because the test
// process is gone, and removes $REMOVE in the end.
const guarded = `"$@" </dev/null 3>&- 4<&- & p=$!
echo $p >&3; exec 3>&-
{ cat <&4 >/dev/null; kill -INT $p; sleep 3; kill -KILL $p; } 2>/dev/null & g=$!
exec 4<&-
wait $p; kill $g 2>/dev/null
[ -z "$REMOVE" ] || rm -rf "$REMOVE"`

// Start runs the server and returns when it answers. It fails after 30 s.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
}

func (s *Server) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		return fmt.Errorf("theatertest: %s runs already", s.argv[0])
	}
	logPath := filepath.Join(s.dir, "log")
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	defer log.Close()
	pidRead, pidWrite, err := os.Pipe()
	if err != nil {
		return err
	}
	defer pidRead.Close()
	lifeRead, lifeWrite, err := os.Pipe()
	if err != nil {
		pidWrite.Close()
		return err
	}
	cmd := exec.Command("/bin/sh", append([]string{"-c", guarded, "guard"}, s.argv...)...)
	cmd.Dir, cmd.SysProcAttr, cmd.Stdout, cmd.Stderr = s.dir, s.sys, log, log
	if s.remove {
		cmd.Env = append(os.Environ(), "REMOVE="+s.dir)
	}
	cmd.ExtraFiles = []*os.File{pidWrite, lifeRead}
	err = cmd.Start()
	pidWrite.Close()
	lifeRead.Close()
	if err != nil {
		lifeWrite.Close()
		return err
	}
	s.cmd, s.guard = cmd, lifeWrite
	line, _ := bufio.NewReader(pidRead).ReadString('\n')
	if s.pid, err = strconv.Atoi(strings.TrimSpace(line)); err != nil {
		return fmt.Errorf("theatertest: the guard of %s did not start: %q", s.argv[0], line)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		err := s.ready(ctx)
		cancel()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(logPath)
			return fmt.Errorf("theatertest: %s never became ready: %w\n%s", s.argv[0], err, text)
		}
	}
}

// Stop ends the server in order (for PostgreSQL a fast shutdown) and waits for it.
func (s *Server) Stop() { s.end(syscall.SIGINT) }

// Kill ends the server with SIGKILL (PostgreSQL: an immediate shutdown, which is as sudden
// for the data but does not leave children behind) and waits for it.
func (s *Server) Kill() {
	if strings.HasSuffix(s.argv[0], "postgres") {
		s.end(syscall.SIGQUIT)
		return
	}
	s.end(syscall.SIGKILL)
}

func (s *Server) end(signal syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return
	}
	_ = s.signal(syscall.SIGCONT)
	_ = s.signal(signal)
	_ = s.cmd.Wait()
	_ = s.guard.Close()
	s.cmd, s.guard, s.pid = nil, nil, 0
}

// Pause freezes the server: connections stay open and nothing is answered.
func (s *Server) Pause() { s.locked(syscall.SIGSTOP) }

// Resume lets a paused server go on.
func (s *Server) Resume() { s.locked(syscall.SIGCONT) }

func (s *Server) locked(signal syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		_ = s.signal(signal)
	}
}

// signal reaches the server and its children: PostgreSQL has a process per connection.
func (s *Server) signal(signal syscall.Signal) error {
	if signal == syscall.SIGSTOP || signal == syscall.SIGCONT {
		for _, child := range children(s.pid) {
			_ = syscall.Kill(child, signal)
		}
	}
	return syscall.Kill(s.pid, signal)
}

func children(pid int) []int {
	out, _ := exec.Command("ps", "-A", "-o", "pid=,ppid=").Output()
	var pids []int
	for _, line := range strings.Split(string(out), "\n") {
		var child, parent int
		if n, _ := fmt.Sscan(line, &child, &parent); n == 2 && parent == pid {
			pids = append(pids, child)
		}
	}
	return pids
}

// find looks on PATH and where Debian and Homebrew put binaries.
func find(name, install string, globs ...string) (string, error) {
	if p, err := exec.LookPath(name); err == nil {
		return p, nil
	}
	for _, g := range globs {
		if m, _ := filepath.Glob(filepath.Join(g, name)); len(m) > 0 {
			return m[len(m)-1], nil
		}
	}
	return "", fmt.Errorf("theatertest: %s is not installed; on Debian: apt-get install -y --no-install-recommends %s; on macOS: brew install %[2]s", name, install)
}

// Program gives the path of a program that a test needs, and fails the test where it is not
// installed; install names the Debian packages it comes in.
func Program(t testing.TB, name, install string) string {
	t.Helper()
	path, err := find(name, install)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// FreeAddr gives an address of this machine where nobody listens, for servers that must come
// back on the same one.
func FreeAddr(t testing.TB) string {
	t.Helper()
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
