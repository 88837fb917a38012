package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/aitheater/theater/internal/app"
)

// actAsTheater makes the test binary the theater binary, so that tests can start, stop and
// kill a real process without building one.
const actAsTheater = "ACT_AS_THEATER"

func TestMain(m *testing.M) {
	if os.Getenv(actAsTheater) != "" {
		main()
	}
	os.Exit(m.Run())
}

// result is what a command left behind.
type result struct {
	code     int
	out, err string
}

// theater runs a command in this process.
func theater(t *testing.T, in string, args ...string) result {
	t.Helper()
	return theaterIn(t, nil, in, args...)
}

func theaterIn(t *testing.T, environ map[string]string, in string, args ...string) result {
	t.Helper()
	var out, errs lockedBuffer
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	code := run(ctx, console{strings.NewReader(in), &out, &errs}, args, environ)
	return result{code, out.String(), errs.String()}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// process is a running theater.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	addrs app.Addrs
	err   lockedBuffer
	ended chan error
}

// start runs a command that prints the ready line, on free ports unless environ names others,
// and waits for the line.
func start(t *testing.T, environ []string, args ...string) *process {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	p := &process{t: t, ended: make(chan error, 1)}
	p.cmd = exec.Command(self, args...)
	p.cmd.Env = append(os.Environ(), actAsTheater+"=1",
		"THEATER_GRPC_ADDR=127.0.0.1:0", "THEATER_HTTP_ADDR=127.0.0.1:0", "THEATER_METRICS_ADDR=127.0.0.1:0")
	p.cmd.Env = append(p.cmd.Env, environ...)
	p.cmd.Stderr = &p.err
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	line := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			select {
			case line <- lines.Text():
			default:
				t.Errorf("a second line on stdout: %s", lines.Text())
			}
		}
		close(line)
		p.ended <- p.cmd.Wait()
	}()
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			p.kill()
		}
	})
	select {
	case text, ok := <-line:
		if !ok {
			t.Fatalf("ended before it was ready:\n%s", p.err.String())
		}
		require.NoError(t, json.Unmarshal([]byte(text), &p.addrs), text)
	case <-time.After(2 * time.Minute):
		t.Fatalf("not ready after two minutes:\n%s", p.err.String())
	}
	return p
}

// stop sends SIGTERM and gives the exit code and how long it took.
func (p *process) stop() (code int, took time.Duration) {
	p.t.Helper()
	began := time.Now()
	require.NoError(p.t, p.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-p.ended:
	case <-time.After(40 * time.Second):
		p.t.Fatalf("still there 40 s after SIGTERM:\n%s", p.err.String())
	}
	return p.cmd.ProcessState.ExitCode(), time.Since(began)
}

// kill ends the process as a power cut would.
func (p *process) kill() {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Kill())
	<-p.ended
}
