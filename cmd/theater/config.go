package main

import (
	"flag"
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
)

// config is every setting of every subcommand. A field is one flag and one variable of the
// same name: GRPCAddr is --grpc-addr and THEATER_GRPC_ADDR. Each has a default that works.
type config struct {
	Store        string  `env:"STORE" envDefault:"sqlite:theater.db" help:"the database: sqlite:PATH or postgres://USER:PASSWORD@HOST/NAME"`
	Redis        string  `env:"REDIS" envDefault:"embedded" help:"where ranked lists are shared: embedded (one process only), redis://HOST:PORT, rediss://…, redis+sentinel://HOST:PORT?master_name=NAME or redis+cluster://HOST:PORT"`
	GRPCAddr     string  `env:"GRPC_ADDR" envDefault:"127.0.0.1:50051" help:"address of gRPC; port 0 picks a free one"`
	HTTPAddr     string  `env:"HTTP_ADDR" envDefault:"127.0.0.1:8080" help:"address of Connect, gRPC-Web and JSON"`
	MetricsAddr  string  `env:"METRICS_ADDR" envDefault:"127.0.0.1:9090" help:"address of metrics and health; never a public one"`
	Auth         string  `env:"AUTH" envDefault:"open" help:"who may call: open (loopback addresses only; every caller is ADMIN), static:FILE or oidc, or several of these two with commas: oidc,static:FILE"`
	OIDCIssuer   string  `env:"OIDC_ISSUER" help:"with --auth oidc: the identity provider, an https URL"`
	OIDCAudience string  `env:"OIDC_AUDIENCE" help:"with --auth oidc: the name of this service at the provider, which its tokens must be for"`
	TLSCert      string  `env:"TLS_CERT" help:"certificate chain, PEM: of a server's gRPC and HTTP ports, read again when it changes; of a client that calls with a certificate (implies --tls)"`
	TLSKey       string  `env:"TLS_KEY" help:"private key of --tls-cert, PEM"`
	TLSClientCA  string  `env:"TLS_CLIENT_CA" help:"authorities of client certificates, PEM; their names are listed in the file of --auth static:FILE, as san:NAME"`
	Quota        float64 `env:"QUOTA" help:"calls a second each caller may make (default: any number)"`
	SecretFile   string  `env:"SECRET_FILE" help:"file with the root secret, at least 32 bytes; several lines = key ring, the first seals (default: a secret made in the database)"`
	Reflection   bool    `env:"REFLECTION" help:"answer gRPC reflection, for grpcurl without files"`
	Strict       bool    `env:"STRICT" help:"refuse viewers as soon as this replica cannot confirm for 1 s that it is up to date"`
	Origins      string  `env:"ORIGINS" help:"web origins whose pages may call, with commas: https://tv.example.com"`

	Dir string `env:"DIR" help:"folder of the demo's database (default: a temporary one, removed at the end)"`

	Server       string        `env:"SERVER" envDefault:"127.0.0.1:50051" help:"gRPC address of the server to talk to"`
	Credential   string        `env:"TOKEN" help:"bearer token or static key to call with"`
	TLS          bool          `env:"TLS" help:"call the server over TLS, checked against the system's certificates or --tls-ca"`
	TLSCA        string        `env:"TLS_CA" help:"authorities that the server's certificate is checked against, PEM, instead of the system's (implies --tls)"`
	TLSName      string        `env:"TLS_SERVER_NAME" help:"name the server's certificate must have (default: the host of --server; implies --tls)"`
	Local        bool          `env:"LOCAL" help:"instead of --server, ask the one that has these settings, as in its container: at --grpc-addr, over TLS if there is a --tls-cert, whatever name that has"`
	Publish      bool          `env:"PUBLISH" help:"also publish what can be published"`
	CreateGenres bool          `env:"CREATE_GENRES" help:"also create genres the server does not know yet"`
	ID           string        `env:"ID" help:"name of the caller, for logs and audit (default: the role and something random)"`
	Role         string        `env:"ROLE" help:"VIEWER, SERVICE, EDITOR, PUBLISHER, AUDITOR or ADMIN; several with commas"`
	Audience     string        `env:"AUDIENCE" help:"the most the caller may see: KIDS or ADULT (default: as its requests say)"`
	AgeBand      string        `env:"AGE_BAND" help:"the highest band of a child: ALL, AGE_3, AGE_8, AGE_12 or AGE_16"`
	Market       string        `env:"MARKET" help:"the markets the caller may act for, with commas (default: all)"`
	TTL          time.Duration `env:"TTL" help:"how long the caller may call, for example 720h (default: for ever)"`
	Keys         string        `env:"KEYS" envDefault:"keys.json" help:"file of static keys to add the caller to"`
	Filter       string        `env:"FILTER" help:"export only films that match, for example: state = PUBLISHED"`
	ShowDeleted  bool          `env:"SHOW_DELETED" help:"export deleted films as well"`
}

// load fills c from the environment, then parses args with the named flags; flags may stand
// before, between or after the arguments it returns. Fields whose variable is set to
// something that does not parse are an error too.
func (c *config) load(name string, args []string, environ map[string]string, flags ...string) ([]string, error) {
	if err := env.ParseWithOptions(c, env.Options{Prefix: "THEATER_", Environment: environ}); err != nil {
		return nil, fmt.Errorf("environment: %w", err)
	}
	set := flag.NewFlagSet(name, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.Usage = func() {}
	for _, f := range fields(c) {
		if !contains(flags, f.flag) {
			continue
		}
		switch p := f.value.Addr().Interface().(type) {
		case *string:
			set.StringVar(p, f.flag, *p, f.help)
		case *float64:
			set.Float64Var(p, f.flag, *p, f.help)
		case *bool:
			set.BoolVar(p, f.flag, *p, f.help)
		case *time.Duration:
			set.DurationVar(p, f.flag, *p, f.help)
		default:
			panic("config: no flag kind for " + f.flag)
		}
	}
	var rest []string
	for {
		if err := set.Parse(args); err != nil {
			return nil, err
		}
		args = set.Args()
		if len(args) == 0 {
			return rest, nil
		}
		rest, args = append(rest, args[0]), args[1:]
	}
}

// describe writes the help of the named flags, in the order of the fields.
func describe(w io.Writer, flags []string) {
	for _, f := range fields(new(config)) {
		if !contains(flags, f.flag) {
			continue
		}
		placeholder := ""
		if f.value.Kind() != reflect.Bool {
			placeholder = " " + strings.ToUpper(f.flag[strings.LastIndexByte(f.flag, '-')+1:])
		}
		fmt.Fprintf(w, "  --%s%s\n        %s", f.flag, placeholder, f.help)
		if f.standard != "" {
			fmt.Fprintf(w, " (default %s)", f.standard)
		}
		fmt.Fprintf(w, " [%s]\n", f.variable)
	}
}

type field struct {
	flag, variable, standard, help string
	value                          reflect.Value
}

func fields(c *config) []field {
	v := reflect.ValueOf(c).Elem()
	list := make([]field, v.NumField())
	for i := range list {
		tag := v.Type().Field(i).Tag
		name := tag.Get("env")
		list[i] = field{
			flag:     strings.ToLower(strings.ReplaceAll(name, "_", "-")),
			variable: "THEATER_" + name,
			standard: tag.Get("envDefault"),
			help:     tag.Get("help"),
			value:    v.Field(i),
		}
	}
	return list
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
