package main

const intro = `AI Theater: the catalogue service behind a streaming channel of AI-made films.

Usage: theater COMMAND [FLAGS] [ARGUMENTS]

  theater demo            is the place to begin: everything embedded, nothing to install
  theater COMMAND --help  explains one command

Commands:
`

const outro = `
Every flag can be set by a variable: --grpc-addr is THEATER_GRPC_ADDR. OpenTelemetry is set by
the standard OTEL_* variables and off unless they ask for it.

Exit codes: 0 all went well, 1 something failed, 2 called wrongly, 3 an import refused a line.
`

const demoHelp = `
Starts the service on SQLite and an embedded Redis, loads a sample catalogue, plays a day of
audience events and prints what to try. Everyone who can reach it may do everything, so it
listens on loopback addresses only.

  $ theater demo
  $ theater demo --dir ./my-theater --http-addr 127.0.0.1:0
`

const serveHelp = `
Prints one line of JSON on stdout when it is ready, with the addresses it listens on; logs go
to stderr. An interrupt or SIGTERM stops it in order, within 25 s.

  $ theater serve
  $ theater serve --store postgres://theater:secret@db/theater --redis redis://cache:6379 \
      --auth static:/etc/theater/keys.json --grpc-addr :50051 --http-addr :8080

Front ends with tokens of an identity provider, services with certificates or keys:

  $ theater serve --auth oidc,static:keys.json --oidc-issuer https://id.example.com --oidc-audience theater \
      --tls-cert tls.crt --tls-key tls.key --tls-client-ca services.pem

Redis forms:
  embedded                                       in this process; refused with PostgreSQL
  redis://[USER:PASSWORD@]HOST:PORT[/DB]         one server; rediss:// for TLS
  redis+sentinel://HOST:PORT[,HOST:PORT…]?master_name=NAME    rediss+sentinel:// for TLS
  redis+cluster://HOST:PORT[,HOST:PORT…]         rediss+cluster:// for TLS
`

const migrateHelp = `
The server does the same at its start; use it to migrate before the servers are replaced.

  $ theater migrate --store postgres://theater:secret@db/theater
`

const importFilmsHelp = `
FILE has one film a line, in the JSON form of theater.v1.Film; "-" is standard input; gzip is
recognised. Films are stored by name: new ones are created, others get the fields that the
line sets. A line that is refused is reported with its number and the reason, the rest is
kept and the exit code is 3. Films stored but not published are counted by reason. Running it
again is safe.

  $ theater import films --publish --create-genres films.jsonl
  $ zcat films.jsonl.gz | theater import films - --server catalogue:50051
  $ theater import films films.jsonl --server catalogue:50051 --tls-ca ca.pem \
      --tls-cert importer.pem --tls-key importer.key
`

const importEventsHelp = `
FILE has one event a line, in the JSON form of theater.v1.Event; "-" is standard input; gzip
is recognised. Events may be of any age. An event counts once however often it is imported.

  $ theater import events events.jsonl.gz
`

const exportFilmsHelp = `
Writes one film a line on stdout, in a form that "theater import films" takes.

  $ theater export films --filter 'state = PUBLISHED' > films.jsonl
`

const checkHelp = `
Opens what a server with these settings would open and reads the whole catalogue: settings
that do not fit together, key and certificate files that cannot be read, a database or Redis
that does not answer, films that refer to
genres that do not exist or are published against the rules, sections that name missing
films, layouts that name missing sections. A SQLite file in use by a server cannot be checked.

  $ theater check --store sqlite:theater.db
`

const healthcheckHelp = `
Asks the gRPC health service, which needs no token, and waits 5 s at the most.

Probes inside a server's container have its variables, where THEATER_TLS_CERT is what the
server shows, not the probe. With --local they are read so: the server is asked at
--grpc-addr on this machine, over TLS if it has a certificate. The probe shows none, and takes
the server's unchecked, for it names the host that clients call.

  $ theater healthcheck --server catalogue:50051 --tls-ca ca.pem
  $ theater healthcheck --local
`

const tokenHelp = `
The key is printed on stdout; the file keeps only its hash, and with --ttl when it expires.
Servers read the file when they start, by --auth static:FILE.

With --ttl and --secret-file nothing is entered in a file: the token is sealed with the
secret, and every server that is started with the same --secret-file takes it at once, for
366 days at the most.

  $ theater token --role VIEWER
  $ theater token --id importer --role ADMIN --ttl 24h
  $ theater token --id kids-app --role VIEWER --audience KIDS --age-band AGE_8 --market CN,SG
`
