// Package sqldb opens SQLite or PostgreSQL behind one SQL text, migrates it, and runs
// transactions: retried on serialization failures and deadlocks, with the database's time.
//
// # Invariants
//
//   - A write that Write reports as done is on disk: SQLite runs with synchronous=FULL,
//     PostgreSQL as its server is set up (synchronous_commit must not be off).
//   - Nobody waits long for a database that is away. A prober asks it as soon as calls have
//     gone unanswered for 120 ms; when it stays silent for 250 ms more, calls in flight
//     fail, and calls that begin fail at once, until the prober gets an answer again.
//   - A SQLite file belongs to one process: an OS lock on PATH.lock goes with the process.
//   - There is one clock. Every transaction begins by asking the database for the time, and
//     Clock carries the best of those answers on the process's monotonic clock.
//
// # The SQL both databases understand
//
// $1 placeholders, each type decided by its column or by CAST; BIGINT, TEXT, DOUBLE
// PRECISION and BYTEA (which SQLite stores as it comes); times as microseconds since 1970;
// ON CONFLICT … DO UPDATE, RETURNING, partial indexes, row values. No serial ids, no FOR
// UPDATE (update a row to lock it), and no ordering or ranges of TEXT that the database's
// collation could change. Text must be valid UTF-8 without NUL.
//
// # Why
//
// PostgreSQL transactions that write are READ COMMITTED: writers take a counter row first
// and must then see what the writer before them committed; REPEATABLE READ would answer
// with a serialization failure each time. A cancelled context makes pgx close the
// connection, so writes run detached from their caller, with server-side timeouts.
//
// SQLite has one connection that writes, with BEGIN IMMEDIATE: a deferred transaction that
// turns into a writer fails at once (BUSY_SNAPSHOT) whatever the busy timeout says.
//
// # Rejected
//
// A query builder or two dialects of each statement: the intersection was enough. A circuit
// breaker that counts failures: a paused server makes calls slow, not failed, and counting
// needs calls to suffer first. Windows: its file locks live in another package, and nobody
// asked.
package sqldb
