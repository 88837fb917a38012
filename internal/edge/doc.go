// Package edge is the doorway: the servers, what every call passes on its way to a room and
// back, THE mapping of faults to the wire, the limits, and health.
//
// What a call passes, in this order, on every protocol: the knock, where it is refused when
// there is too much to do; recover; telemetry; who calls and
// may it call this (before a byte of the body is decoded, so that permission comes before
// existence and before validation); readiness; the revision it asks for; decoding;
// the rules of the schema; the room; then the trailers and the translation of its error.
//
// Invariants: a method of ours without the access option stops the start; a fault's cause
// and the text of anything that is no fault never leave the process; whatever a client
// sends is answered with a documented code and never INTERNAL; without authentication
// nothing but loopback is served; the three ports end within the drain time and 5 s.
//
// Why handlers are wrapped and not interceptors chained: grpc-go decodes a message before
// its interceptors run and calls what does not decode INTERNAL; wrapped, the same function
// serves both ports, sees that error and knows its method without a look-up.
//
// Why calls are counted from their headers on (shed.go): handlers that work in memory hardly
// overlap, so a bound on calls inside handlers is never reached while thousands wait for a
// processor and are served too late. Why a refusal may be held back (knock.go): it costs a
// third of a page, so refusing everything that comes would leave no time for serving.
//
// Why the HTTP port does not proxy to the gRPC port: connect calls the same wrapped handler
// with a decoder of its own, so there is no second hop, and an encoded page goes out as it is.
//
// Why a call over HTTP waits for its own goroutines (leg.go): rooms send and receive in
// goroutines that end with their handler, as grpc-go has it; net/http gives what they still
// hold to the next call.
//
// Rejected: grpc-go's ServeHTTP for a single port (about twice the cost of a call);
// cmux (dead); otelgrpc (see package telemetry).
package edge
