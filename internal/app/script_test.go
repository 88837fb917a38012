package app_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/aitheater/theater/internal/app"
	"github.com/aitheater/theater/internal/theatertest"
	"github.com/aitheater/theater/internal/theatertest/house"
)

// Scripts in testdata read like a day at the desk, and run on both databases.
func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, scripts)
	for _, script := range scripts {
		t.Run(filepath.Base(script), func(t *testing.T) {
			theatertest.EachStore(t, func(t *testing.T, url string) {
				run(t, house.Start(t, app.Config{Store: url, Redis: theatertest.Redis(t)}), script)
			})
		})
	}
}

func run(t *testing.T, h *house.House, script string) {
	text, err := os.ReadFile(script)
	require.NoError(t, err)
	kept := map[string]string{}
	line := 0
	for _, block := range strings.Split(string(text), "\n\n") {
		at := fmt.Sprintf("%s:%d", script, line+1)
		line += strings.Count(block, "\n") + 2
		var lines []string
		for _, l := range strings.Split(strings.TrimSpace(block), "\n") {
			if !strings.HasPrefix(l, "#") && l != "" {
				lines = append(lines, l)
			}
		}
		if len(lines) == 0 {
			continue
		}
		require.Len(t, lines, 3, "%s: a call, a line of dashes, and what is expected", at)
		method, body, _ := strings.Cut(lines[0], " ")
		for name, value := range kept {
			body = strings.ReplaceAll(body, `"`+name+`"`, `"`+value+`"`)
		}
		status, answer := h.JSON(method, json.RawMessage(body))
		want, fields, _ := strings.Cut(lines[2], " ")
		require.Equal(t, want, fmt.Sprint(status), "%s: %v", at, answer)
		var expected any
		require.NoError(t, json.Unmarshal([]byte(fields), &expected), at)
		holds(t, at, expected, answer, kept)
	}
}

// holds checks that got has all that want names; "$x" keeps a value the first time, and
// stands for it afterwards.
func holds(t *testing.T, at string, want, got any, kept map[string]string) {
	t.Helper()
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		require.True(t, ok, "%s: %v", at, got)
		for key := range w {
			holds(t, at+": "+key, w[key], g[key], kept)
		}
	case []any:
		g, ok := got.([]any)
		require.True(t, ok, "%s: %v", at, got)
		require.Len(t, g, len(w), at)
		for i := range w {
			holds(t, fmt.Sprint(at, "[", i, "]"), w[i], g[i], kept)
		}
	case string:
		if strings.HasPrefix(w, "$") {
			if _, ok := kept[w]; !ok {
				kept[w], _ = got.(string)
			}
			w = kept[w]
		}
		require.Equal(t, w, got, at)
	default:
		require.Equal(t, want, got, at)
	}
}
