// Package app puts the rooms together: Open in the order in which they need each other, Run,
// and Close in the reverse order. It is the only place that sees all rooms, and the only one
// besides edge that knows gRPC.
//
// # Why
//
// The assembly is written out by hand, one constructor after the other: the order of start
// and stop is the order of the lines, and what a room needs is what it is handed. The tests
// and the demo compose the very same way, so that nothing is tested that does not ship.
//
// # Rejected
//
// A container for dependencies: it hides the order, which is the one thing that matters here.
// Lazy parts that come up with their first use: a service is ready when all of it is.
package app
