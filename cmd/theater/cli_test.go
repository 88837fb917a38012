package main

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/auth"
)

func TestExitCodesAndWaysOut(t *testing.T) {
	for _, c := range []struct {
		name string
		args string
		code int
		// says must stand in what is printed where people look: stdout on success, else stderr.
		says string
	}{
		{"nothing", "", exitOK, "theater demo"},
		{"help", "--help", exitOK, "Commands:"},
		{"help of a command", "import films --help", exitOK, "--create-genres"},
		{"help in front", "--help serve", exitOK, "--grpc-addr"},
		{"help as a word", "help import events", exitOK, "counts once"},
		{"version", "version", exitOK, "theater "},
		{"unknown command", "imprt films x", exitUsage, "import films"},
		{"half a command", "import", exitUsage, "import films"},
		{"unknown flag", "serve --port 1", exitUsage, "theater serve --help"},
		{"flag of another command", "serve --publish", exitUsage, "theater serve --help"},
		{"missing argument", "import films", exitUsage, "want FILE"},
		{"argument too many", "import films a b", exitUsage, "want FILE"},
		{"file that is not there", "import films /no/such/file", exitFailed, "no such file"},
		{"open to the world", "serve --grpc-addr :0", exitUsage, "loopback"},
		{"embedded redis with PostgreSQL", "serve --store postgres://localhost/x", exitUsage, "name a Redis"},
		{"redis of no kind", "serve --redis http://x", exitUsage, "want embedded, redis or rediss"},
		{"address without port", "serve --http-addr localhost", exitUsage, "HOST:PORT"},
		{"server without port", "healthcheck --server localhost", exitUsage, "HOST:PORT"},
		{"itself without port", "healthcheck --local --grpc-addr localhost", exitUsage, "HOST:PORT"},
		{"nobody there", "healthcheck --server 127.0.0.1:1", exitFailed, "theater serve"},
		{"token for nothing", "token --id web", exitUsage, "--role"},
		{"token of the past", "token --role VIEWER --ttl -1h", exitUsage, "--ttl"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := theater(t, "", strings.Fields(c.args)...)
			assert.Equal(t, c.code, got.code, got.err)
			text := got.err
			if c.code == exitOK {
				text = got.out
				assert.Empty(t, got.err)
			} else {
				assert.Empty(t, got.out, "stdout is for results")
			}
			assert.Contains(t, text, c.says)
		})
	}
}

// Settings that cannot work are found before anything is opened: the call is at fault, and
// the answer names the flag.
func TestSettingsAreCheckedBeforeAnythingIsOpened(t *testing.T) {
	for _, c := range []struct{ args, says string }{
		{"--auth nonsense", `--auth "nonsense": want open`},
		{"--auth static:", "--auth"},
		{"--auth oidc --oidc-audience theater", "--oidc-issuer"},
		{"--auth oidc --oidc-issuer https://id.example.com", "--oidc-audience"},
		{"--auth oidc --oidc-issuer http://id.example.com --oidc-audience theater", "--oidc-issuer"},
		{"--store mysql:x", "--store"},
		{"--store sqlite:", "--store"},
		{"--store postgres://%zz --redis redis://localhost", "--store"},
		{"--redis redis://localhost/x", "--redis"},
		{"--grpc-addr 127.0.0.1:99999", "--grpc-addr"},
		{"--http-addr 127.0.0.1:-1", "--http-addr"},
		{"--metrics-addr 127.0.0.1:nosuchport", "--metrics-addr"},
		{"--tls-cert cert.pem", "--tls-key"},
		{"--tls-key key.pem", "--tls-cert"},
		{"--tls-client-ca ca.pem", "--tls-cert"},
		{"--tls-cert c.pem --tls-key k.pem --tls-client-ca ca.pem", "--auth open"},
		{"--auth oidc --oidc-issuer https://id.example.com --oidc-audience theater --tls-cert c --tls-key k --tls-client-ca ca", "--tls-client-ca"},
		{"--auth oidc,static:keys.json --oidc-audience theater", "--oidc-issuer"},
		{"--auth static:keys.json --oidc-issuer https://id.example.com", "--oidc-issuer"},
		{"--oidc-audience theater", "--auth oidc"},
		{"--auth open,static:keys.json", "--auth"},
		{"--auth static:keys.json,", "--auth"},
		{"--quota NaN", "--quota NaN"},
		{"--quota -5", "--quota -5"},
		{"--quota Inf", "--quota +Inf"},
		{"--quota 1e-300", "--quota"},
		{"--origins tv.example.com", `--origins "tv.example.com"`},
		{"--origins https://tv.example.com,https://www.example.com/", `--origins "https://www.example.com/"`},
		{"--origins https://TV.example.com", "--origins"},
		{"--origins https://tv.example.com,", "--origins"},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Chdir(t.TempDir()) // where the store would be
			got := theater(t, "", strings.Fields("serve "+c.args)...)
			assert.Equal(t, exitUsage, got.code, got.err)
			assert.Contains(t, got.err, c.says)
			assert.NoFileExists(t, "theater.db")
		})
	}
	assert.Equal(t, exitUsage, theater(t, "", "migrate", "--store", "mysql:x").code)
}

func TestEveryCommandExplainsItself(t *testing.T) {
	for _, cmd := range commands() {
		got := theater(t, "", append(strings.Fields(cmd.name), "--help")...)
		assert.Equal(t, exitOK, got.code)
		for _, flag := range cmd.flags {
			assert.Contains(t, got.out, "--"+flag, "theater %s --help", cmd.name)
			assert.Contains(t, got.out, "THEATER_"+strings.ToUpper(strings.ReplaceAll(flag, "-", "_")))
		}
	}
}

// Each flag that a command names exists, and each field belongs to some command.
func TestFlagsAreThoseOfTheCommands(t *testing.T) {
	used := map[string]bool{}
	for _, cmd := range commands() {
		for _, flag := range cmd.flags {
			used[flag] = true
		}
	}
	for _, f := range fields(new(config)) {
		assert.True(t, used[f.flag], "--%s belongs to no command", f.flag)
		delete(used, f.flag)
	}
	assert.Empty(t, used, "flags without a field")
}

func TestFlagsStandAnywhereAndWinOverTheEnvironment(t *testing.T) {
	environ := map[string]string{"THEATER_SERVER": "a:1", "THEATER_PUBLISH": "true", "THEATER_TOKEN": "t"}
	for _, args := range [][]string{
		{"--server", "b:2", "films.jsonl", "--create-genres"},
		{"films.jsonl", "--server=b:2", "--create-genres"},
		{"--create-genres", "-server", "b:2", "--", "films.jsonl"},
	} {
		var c config
		rest, err := c.load("import films", args, environ, "server", "token", "publish", "create-genres")
		require.NoError(t, err)
		assert.Equal(t, []string{"films.jsonl"}, rest)
		assert.Equal(t, "b:2", c.Server)
		assert.Equal(t, "t", c.Credential)
		assert.True(t, c.Publish)
		assert.True(t, c.CreateGenres)
		assert.Equal(t, "sqlite:theater.db", c.Store, "defaults hold")
	}
	var c config
	_, err := c.load("import films", nil, map[string]string{"THEATER_PUBLISH": "perhaps"}, "publish")
	assert.ErrorContains(t, err, "Publish")
}

func packed(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := io.WriteString(w, text)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.String()
}

// readAll runs the reader of imports over a file's content.
func readAll(t testing.TB, content string) (kept []int, refused map[int]string, err error) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "films.jsonl")
	require.NoError(t, os.WriteFile(name, []byte(content), 0o600))
	in, closeFile, err := open(name, nil)
	if err != nil {
		return nil, nil, err
	}
	defer closeFile()
	refused = map[int]string{}
	batches := make(chan []line[*pb.Film])
	done := make(chan error, 1)
	go func() {
		done <- read(t.Context(), in, func() *pb.Film { return new(pb.Film) }, func(n int, why string) { refused[n] = why }, batches)
	}()
	for b := range batches {
		for _, l := range b {
			kept = append(kept, l.number)
		}
		if len(b) > batchItems {
			t.Errorf("batch of %d", len(b))
		}
	}
	return kept, refused, <-done
}

func TestReaderOfOddFiles(t *testing.T) {
	film := `{"name":"films/a"}`
	for _, c := range []struct {
		name, content string
		kept          []int
		refused       map[int]string // parts of the reasons
		err           string
	}{
		{name: "empty"},
		{name: "one line without end", content: film, kept: []int{1}},
		{name: "blank lines, other line ends, byte order mark", content: "\xef\xbb\xbf" + film + "\r\n\r\n\t\n" + film + "\n\n", kept: []int{1, 4}},
		{name: "gzip", content: packed(t, film+"\n"+film), kept: []int{1, 2}},
		{name: "two gzip members", content: packed(t, film+"\n") + packed(t, film), kept: []int{1, 2}},
		{name: "gzip cut short", content: packed(t, film+"\n")[:20], err: "unexpected EOF"},
		{name: "not gzip after all", content: "\x1f\x8b\x00\x00", err: "EOF"},
		{name: "unknown field", content: film + "\n" + `{"nmae":"films/a"}` + "\n" + film, kept: []int{1, 3}, refused: map[int]string{2: `unknown field "nmae"`}},
		{name: "unknown enum value", content: `{"contentType":"RADIO"}`, refused: map[int]string{1: "RADIO"}},
		{name: "an array", content: "[" + film + "]", refused: map[int]string{1: "unexpected token"}},
		{name: "two films on a line", content: film + film, refused: map[int]string{1: "unexpected token"}},
		{name: "half a film", content: film[:9] + "\n" + film, kept: []int{2}, refused: map[int]string{1: ""}},
		{name: "a line that never ends", content: film + "\n" + strings.Repeat("x", lineBytes+2) + "\n" + film, kept: []int{1, 3}, refused: map[int]string{2: "longer than"}},
		{name: "broken UTF-8 and NUL", content: "{\"name\":\"\xff\"}\n\x00\n" + film, kept: []int{3}, refused: map[int]string{1: "UTF-8", 2: ""}},
		{name: "many", content: strings.Repeat(film+"\n", batchItems+1), kept: count(batchItems + 1)},
	} {
		t.Run(c.name, func(t *testing.T) {
			kept, refused, err := readAll(t, c.content)
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
			} else {
				require.NoError(t, err)
			}
			assert.Equal(t, c.kept, kept)
			assert.Len(t, refused, len(c.refused))
			for n, part := range c.refused {
				assert.Contains(t, refused[n], part)
			}
		})
	}
	_, _, err := open(t.TempDir(), nil)
	assert.NoError(t, err, "a folder opens, and fails when it is read")
}

func count(n int) (list []int) {
	for i := range n {
		list = append(list, i+1)
	}
	return list
}

// Each line of any input that is not blank is either kept or refused, once.
func FuzzReader(f *testing.F) {
	f.Add([]byte("{}\n{\"name\":\"films/a\"}\r\n\n{"))
	f.Add([]byte("\xef\xbb\xbf{}\n\x00\n[]"))
	f.Fuzz(func(t *testing.T, content []byte) {
		if len(content) > 1 && content[0] == 0x1f && content[1] == 0x8b {
			return // compressed: the lines are not those of content
		}
		kept, refused, err := readAll(t, string(content))
		require.NoError(t, err)
		want := 0
		for _, l := range bytes.Split(bytes.TrimPrefix(content, []byte("\xef\xbb\xbf")), []byte("\n")) {
			if len(bytes.TrimSpace(l)) > 0 {
				want++
			}
		}
		require.Equal(t, want, len(kept)+len(refused))
	})
}

func TestTokenEntersCallers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys.json")
	first := theater(t, "", "token", "--keys", file, "--id", "importer", "--role", "ADMIN")
	require.Equal(t, exitOK, first.code, first.err)
	second := theater(t, "", "token", "--keys", file, "--id", "kids", "--role", "VIEWER,SERVICE", "--audience", "KIDS", "--age-band", "AGE_8", "--market", "CN,SG")
	require.Equal(t, exitOK, second.code, second.err)

	bad := theater(t, "", "token", "--keys", file, "--id", "x", "--role", "KING")
	assert.Equal(t, exitUsage, bad.code)
	assert.Contains(t, bad.err, "KING")

	third := theater(t, "", "token", "--keys", file, "--role", "VIEWER", "--ttl", "1h")
	require.Equal(t, exitOK, third.code, third.err)
	assert.Regexp(t, `^viewer-\w{6} may now call .* until 2\S+Z\n$`, third.err)

	content, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.NotContains(t, string(content), strings.TrimSpace(first.out), "the file keeps hashes only")
	info, err := os.Stat(file)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	keys, err := auth.ReadStatic(file)
	require.NoError(t, err)
	kids, err := keys.Authenticate(t.Context(), auth.Credentials{Bearer: strings.TrimSpace(second.out)})
	require.NoError(t, err)
	assert.Equal(t, "kids", kids.ID)
	assert.Equal(t, pb.Viewer_KIDS, kids.Audience)
	assert.Equal(t, []string{"CN", "SG"}, kids.Markets)
	assert.True(t, kids.Has(pb.Access_SERVICE))
	assert.False(t, kids.Has(pb.Access_EDITOR))
	viewer, err := keys.Authenticate(t.Context(), auth.Credentials{Bearer: strings.TrimSpace(third.out)})
	require.NoError(t, err)
	assert.Regexp(t, `^viewer-\w{6}$`, viewer.ID)
	assert.Equal(t, 1, strings.Count(string(content), `"expires"`))
	admin, err := keys.Authenticate(t.Context(), auth.Credentials{Bearer: strings.TrimSpace(first.out)})
	require.NoError(t, err)
	assert.True(t, admin.Has(pb.Access_EDITOR))
}

func TestTokenOfASecretNeedsNoEntry(t *testing.T) {
	dir := t.TempDir()
	secret, file := filepath.Join(dir, "secret"), filepath.Join(dir, "keys.json")
	require.NoError(t, os.WriteFile(secret, bytes.Repeat([]byte("s"), 32), 0o600))
	got := theater(t, "", "token", "--keys", file, "--role", "EDITOR", "--ttl", "1h", "--secret-file", secret)
	require.Equal(t, exitOK, got.code, got.err)
	assert.NoFileExists(t, file)
	keys, err := auth.ReadKeys(secret)
	require.NoError(t, err)
	caller, err := auth.Minted{Keys: keys}.Authenticate(t.Context(), auth.Credentials{Bearer: strings.TrimSpace(got.out)})
	require.NoError(t, err)
	assert.Regexp(t, `^editor-\w{6}$`, caller.ID)
}
