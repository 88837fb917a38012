package edge

// ServerOptions are those of the gRPC port, for the server benchmarks compare with.
var ServerOptions = serverOptions
