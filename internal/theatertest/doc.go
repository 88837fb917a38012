// Package theatertest gives tests the real servers the service talks to: SQLite, PostgreSQL
// and Redis, each on a free port of this machine, and a proxy that breaks the line to them.
//
// # Invariants
//
//   - A server that is not installed fails the test and says what to install; nothing skips.
//   - Whatever is started ends with the test process, however that ends: a guard holds the
//     read end of a pipe and stops its server when the pipe breaks.
//   - Two calls never share state: every Redis is a server of its own, every PostgreSQL URL
//     a fresh database.
//
// # Why
//
// One PostgreSQL server serves a whole test process, because starting one takes over a
// second and creating a database a tenth of that; tests that stop or pause the server ask
// for their own with NewPostgres. It runs with fsync off: the tests kill processes, not
// machines, and what a killed process has written the kernel still has.
//
// # Rejected
//
// Containers: they need a daemon that many machines and CI jobs do not have. Fakes of the
// databases: every surprising thing the promises are about is in the real ones.
package theatertest
