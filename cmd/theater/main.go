// Command theater is AI Theater: the service, its tools and its demo in one binary.
//
// It exits with 0 when all went well, 1 when something failed, 2 when it was called wrongly
// and 3 when an import refused a line.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/caarlos0/env/v11"
)

const (
	exitOK = iota
	exitFailed
	exitUsage
	exitRefused
)

// errRefused is the answer of an import that went through but for some of its lines.
var errRefused = errors.New("some lines were refused")

// usageError is a call that cannot be understood.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// console is how a subcommand meets the world.
type console struct {
	in       io.Reader
	out, err io.Writer
}

// command is one subcommand.
type command struct {
	name string
	// args is shown in the synopsis; the number of arguments must be exactly that of its words.
	args    string
	summary string
	// help goes below the synopsis; a line beginning with "$ " is an example.
	help  string
	flags []string
	run   func(ctx context.Context, std console, c *config, args []string) error
}

func commands() []*command {
	addresses := []string{"grpc-addr", "http-addr", "metrics-addr"}
	client := []string{"server", "token", "tls", "tls-ca", "tls-server-name", "tls-cert", "tls-key"}
	return []*command{
		{name: "demo", summary: "start everything embedded, with a sample catalogue and a day of audience",
			help: demoHelp, flags: append([]string{"dir"}, addresses...), run: runDemo},
		{name: "serve", summary: "start the service",
			help: serveHelp, flags: append([]string{"store", "redis", "auth", "oidc-issuer", "oidc-audience", "tls-cert", "tls-key", "tls-client-ca", "quota", "secret-file", "reflection", "strict", "origins"}, addresses...), run: runServe},
		{name: "migrate", summary: "bring the database's tables up to date, and stop",
			help: migrateHelp, flags: []string{"store"}, run: runMigrate},
		{name: "import films", args: "FILE", summary: "store films from JSON Lines",
			help: importFilmsHelp, flags: append([]string{"publish", "create-genres"}, client...), run: runImportFilms},
		{name: "import events", args: "FILE", summary: "store audience events from JSON Lines",
			help: importEventsHelp, flags: client, run: runImportEvents},
		{name: "export films", summary: "write all films as JSON Lines",
			help: exportFilmsHelp, flags: append([]string{"filter", "show-deleted"}, client...), run: runExportFilms},
		{name: "token", summary: "make a key for a caller and enter it in a file of static keys",
			help: tokenHelp, flags: []string{"id", "role", "audience", "age-band", "market", "keys", "ttl", "secret-file"}, run: runToken},
		{name: "check", summary: "look over configuration, database, Redis and catalogue; exit 1 with findings",
			help: checkHelp, flags: []string{"store", "redis", "auth", "oidc-issuer", "oidc-audience", "tls-cert", "tls-key", "tls-client-ca", "quota", "secret-file"}, run: runCheck},
		{name: "healthcheck", summary: "exit 0 if a server is ready, for container probes",
			help: healthcheckHelp, flags: append([]string{"local", "grpc-addr"}, client...), run: runHealthcheck},
		{name: "version", summary: "print the version", run: runVersion},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once, as people expect of a second Ctrl-C.
	context.AfterFunc(ctx, stop)
	code := run(ctx, console{os.Stdin, os.Stdout, os.Stderr}, os.Args[1:], env.ToMap(os.Environ()))
	stop()
	os.Exit(code)
}

// run is main without the process around it.
func run(ctx context.Context, std console, args []string, environ map[string]string) int {
	cmd, rest := find(args)
	if cmd == nil {
		return overview(std, args)
	}
	var c config
	rest, err := c.load(cmd.name, rest, environ, cmd.flags...)
	switch {
	case errors.Is(err, flag.ErrHelp):
		cmd.usage(std.out)
		return exitOK
	case err != nil:
		err = usageError{err}
	case len(rest) != len(strings.Fields(cmd.args)):
		err = usagef("want %s, got %q", orNothing(cmd.args), strings.Join(rest, " "))
	default:
		err = cmd.run(ctx, std, &c, rest)
	}
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errRefused):
		return exitRefused
	case errors.As(err, &usage):
		fmt.Fprintf(std.err, "theater %s: %v\nSee: theater %s --help\n", cmd.name, err, cmd.name)
		return exitUsage
	default:
		fmt.Fprintf(std.err, "theater %s: %v\n", cmd.name, err)
		return exitFailed
	}
}

// find gives the command that args begin with, flags before it included, and the rest.
func find(args []string) (*command, []string) {
	var words, flags []string
	for i, a := range args {
		if strings.HasPrefix(a, "-") && a != "-" {
			flags = append(flags, a)
			continue
		}
		words = append(words, a)
		for _, c := range commands() {
			if c.name == strings.Join(words, " ") {
				return c, append(flags, args[i+1:]...)
			}
		}
	}
	return nil, nil
}

// overview answers calls that name no command.
func overview(std console, args []string) int {
	asked := len(args) == 0
	var words []string
	for _, a := range args {
		switch a {
		case "help", "-h", "-help", "--help":
			asked = true
		default:
			words = append(words, a)
		}
	}
	if cmd, _ := find(words); cmd != nil {
		cmd.usage(std.out)
		return exitOK
	}
	if len(words) == 0 && asked {
		fmt.Fprint(std.out, intro)
		for _, c := range commands() {
			fmt.Fprintf(std.out, "  %-22s %s\n", strings.TrimSpace(c.name+" "+c.args), c.summary)
		}
		fmt.Fprint(std.out, outro)
		return exitOK
	}
	fmt.Fprintf(std.err, "theater: no command %q. There are:", strings.Join(words, " "))
	for i, c := range commands() {
		if i > 0 {
			fmt.Fprint(std.err, ",")
		}
		fmt.Fprint(std.err, " ", c.name)
	}
	fmt.Fprint(std.err, "\nSee: theater --help\n")
	return exitUsage
}

func (c *command) usage(w io.Writer) {
	flags := ""
	if len(c.flags) > 0 {
		flags = " [FLAGS]"
	}
	fmt.Fprintf(w, "theater %s - %s\n\nUsage: theater %s%s\n", c.name, c.summary, strings.TrimSpace(c.name+" "+c.args), flags)
	if c.help != "" {
		fmt.Fprintf(w, "\n%s\n", strings.TrimSpace(c.help))
	}
	if len(c.flags) > 0 {
		fmt.Fprint(w, "\nFlags, with the variable that sets each in brackets (a flag wins):\n")
		describe(w, c.flags)
	}
}

func orNothing(args string) string {
	if args == "" {
		return "no argument"
	}
	return args
}
