// Package telemetry sets OpenTelemetry up from the standard OTEL_* variables, off unless
// they ask, and gives the rooms their span helper.
//
// Invariants: nothing leaves the process unless an OTEL_* variable asks for it; a dead or
// slow collector costs no request anything and the process at most 2 s at its end; no
// attribute or log field holds a token, a viewer key or a body. What a collector does not take
// is counted.
//
// Why an instrumentation of our own on the serving port: the stats handler of otelgrpc costs
// 22 to 45 % of the hottest call. Why /metrics is always served: an operator without a
// collector still needs figures, and a local registry costs nothing until it is asked.
package telemetry
