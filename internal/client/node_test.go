package client_test

import (
	"bufio"
	"bytes"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/aitheater/theater/internal/app"
	"github.com/aitheater/theater/internal/client"
	"github.com/aitheater/theater/internal/theatertest"
	"github.com/aitheater/theater/internal/theatertest/house"
)

// Node's own gRPC, with nothing of ours but the schema and the service config.
func TestNodeClient(t *testing.T) {
	t.Parallel()
	node := theatertest.Program(t, "node", "nodejs npm")
	dir := npm(t, "node")
	ours, err := filepath.Abs("../../proto")
	require.NoError(t, err)
	theirs := filepath.Join(dir, "theirs")
	out, err := exec.Command("go", "run", "../../build/protodeps", theirs).CombinedOutput()
	require.NoError(t, err, "%s", out)
	h := house.Start(t, app.Config{GRPCAddr: theatertest.FreeAddr(t)})
	season(t, h.Catalog, h.Signals, h.Listing)
	cmd := exec.Command(node, "client.mjs", h.Addrs.GRPC, client.ServiceConfig(), dir, ours, theirs)
	cmd.Dir = dir
	var problems bytes.Buffer
	cmd.Stderr = &problems
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	printed, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var checks []string
	for lines := bufio.NewScanner(printed); lines.Scan(); {
		switch line := lines.Text(); line {
		case "stop":
			h.Stop()
			_, err := io.WriteString(in, "stopped\n")
			require.NoError(t, err)
		case "waiting":
			h.Restart()
		default:
			checks = append(checks, line)
		}
	}
	require.NoError(t, cmd.Wait(), "%s\n%s", strings.Join(checks, "\n"), problems.String())
	assert.Equal(t, []string{
		"ok a ranked page and the ones behind it", "ok home and title", "ok errors with their details",
		"ok a write, and reads that are not older", "ok a stream, cancelled", "ok an import in both directions",
		"ok a deadline", "ok gzip", "ok a server that restarts",
	}, checks)
}
