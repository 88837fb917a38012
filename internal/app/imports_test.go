package app_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/aitheater/theater/"

// The rooms of the house. Foundations may be imported by product rooms; product rooms never
// import each other.
var (
	productRooms = []string{"catalog", "curation", "listing", "signals", "rank"}
	foundations  = []string{"fault", "auth", "sqldb", "changes", "shelf", "generations", "ledger", "disclosure", "telemetry", "resource", "masks", "texts", "bcp47"}
)

// imports gives the imports of each non-test Go file below the module's root, by path.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	root := filepath.Join("..", "..")
	files := map[string][]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if rel != "." && (strings.HasPrefix(d.Name(), ".") || rel == "api" || rel == "build" || d.Name() == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") || strings.HasSuffix(rel, "_test.go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		list := []string{}
		for _, i := range parsed.Imports {
			p, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			list = append(list, p)
		}
		files[filepath.ToSlash(rel)] = list
		return nil
	})
	require.NoError(t, err)
	require.Greater(t, len(files), 20, "the walk found hardly any file")
	return files
}

// room is the package directly below internal, else the first part of the path.
func room(path string) string {
	path = strings.TrimPrefix(path, module)
	first, rest, _ := strings.Cut(path, "/")
	if first != "internal" {
		return first
	}
	second, _, _ := strings.Cut(rest, "/")
	return second
}

func TestImportRules(t *testing.T) {
	for file, list := range imports(t) {
		from := room(file)
		for _, path := range list {
			if why := forbidden(from, filepath.Base(file), path); why != "" {
				t.Errorf("%s imports %s: %s", file, path, why)
			}
		}
	}
}

// forbidden says why a file of a room may not import a package, or "".
func forbidden(from, file, path string) string {
	has := slices.Contains[[]string]
	if strings.HasPrefix(path, module) {
		to := room(path)
		switch {
		case to == "cmd":
			return "commands are not imported"
		case to == "app" && !has([]string{"cmd", "theatertest", "app", "build"}, from):
			return "only commands and the test kit start the service"
		case to == "theatertest" && from != "theatertest":
			return "the test kit does not ship"
		case to == "edge" && from != "app" && from != "edge" && from != "cmd":
			return "only app opens the doors"
		case has(productRooms, to) && has(productRooms, from) && to != from:
			return "product rooms do not import each other; declare an interface, app hands it over"
		case has(productRooms, to) && has(foundations, from):
			return "foundations do not know the rooms above them"
		}
		return ""
	}
	switch {
	case path == "database/sql" && from != "sqldb" && from != "changes" && file != "sql.go" && file != "sql_read.go":
		return "SQL belongs to sqldb, changes and the sql.go of a room"
	case strings.HasPrefix(path, "github.com/redis/") && !has([]string{"changes", "generations", "rank", "app", "theatertest"}, from):
		return "only changes and generations know Redis"
	case (path == "google.golang.org/grpc/status" || path == "google.golang.org/grpc/codes") && !has([]string{"edge", "app", "cmd", "client", "demo", "theatertest"}, from):
		return "rooms fail with package fault; edge alone maps it"
	}
	return ""
}
