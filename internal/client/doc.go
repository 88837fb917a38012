// Package client is how Go programs call the service: a connection that survives restarts
// and outages of single servers, and pagers that know what a generation is.
//
// Invariants: a call is repeated only where that is safe, because the schema says it has no
// side effects or is idempotent, or because it carries a request_id (one is filled in where
// the caller left it out); repetitions stop by themselves when most calls fail, so that
// clients do not keep an overloaded service down.
//
// Why the retry policy is a gRPC service config: other languages take the same file
// (service-config.json), and grpc-go knows which calls never reached a handler.
//
// The tests beside it also are clients in other languages: Node with its own gRPC, and a web
// page in Chromium over Connect and gRPC-Web, each with public libraries only (testdata).
package client
