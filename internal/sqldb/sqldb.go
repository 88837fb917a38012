// Package sqldb opens SQLite or PostgreSQL behind one SQL text, migrates it, and runs
// transactions: retried on serialization failures and deadlocks, with the database's time.
package sqldb

import (
	"context"
	"database/sql"
	"time"
)

// DB is an open database.
type DB struct{}

// Open opens "sqlite:PATH" or "postgres://…" and applies the migrations. A SQLite file that
// another process has open is refused.
func Open(ctx context.Context, url string) (*DB, error) { panic("to be written") }

// Close closes the database and gives the file's lock back.
func (d *DB) Close() error { panic("to be written") }

// Postgres reports whether several processes may share this database.
func (d *DB) Postgres() bool { panic("to be written") }

// StoreID is random, made with the database; another id behind the same address means
// another database.
func (d *DB) StoreID() string { panic("to be written") }

// RootSecret is 32 random bytes made with the database, used where no secret file is given.
func (d *DB) RootSecret() []byte { panic("to be written") }

// Write runs fn in a read-write transaction and commits it durably. The transaction is not
// tied to ctx's cancellation once begun, and fails within 5 s of a database that stalls.
// fn may run more than once. An error of the database comes back as fault.StoreUnavailable,
// an error of fn as it is.
func (d *DB) Write(ctx context.Context, fn func(tx *Tx) error) error { panic("to be written") }

// Read runs fn in a read-only transaction that sees one snapshot.
func (d *DB) Read(ctx context.Context, fn func(tx *Tx) error) error { panic("to be written") }

// Clock follows the database's time.
func (d *DB) Clock() *Clock { panic("to be written") }

// Lease takes or renews the named lease for holder, by the database's clock. epoch counts
// up each time the lease changes hands.
func (d *DB) Lease(ctx context.Context, name, holder string, ttl time.Duration) (epoch int64, held bool, err error) {
	panic("to be written")
}

// Tx is a transaction.
type Tx struct{}

// Exec runs a statement with $1 placeholders and gives the number of rows it changed.
func (t *Tx) Exec(query string, args ...any) (int64, error) { panic("to be written") }

// Query runs a query.
func (t *Tx) Query(query string, args ...any) (*sql.Rows, error) { panic("to be written") }

// QueryRow runs a query of one row.
func (t *Tx) QueryRow(query string, args ...any) *sql.Row { panic("to be written") }

// Insert adds rows with as few statements as the database allows. into is
// "table (a, b, c)", suffix is empty or "ON CONFLICT …"; values holds the rows back to back.
func (t *Tx) Insert(into string, columns int, values []any, suffix string) error {
	panic("to be written")
}

// Now is the database's time at the beginning of the transaction, in UTC, to the microsecond.
func (t *Tx) Now() time.Time { panic("to be written") }

// Guard fails the transaction unless the lease is still held under this epoch, and keeps
// it from changing hands until the transaction ends.
func (t *Tx) Guard(name string, epoch int64) error { panic("to be written") }

// Clock is the one clock of the service: the database's time, carried by the process's
// monotonic clock between polls and while the database is away.
type Clock struct{}

// NewClock gives a clock that follows the process's time until it is set.
func NewClock() *Clock { panic("to be written") }

// Now is the current time, UTC.
func (c *Clock) Now() time.Time { panic("to be written") }

// Observe sets the clock by a database time read between two local times.
func (c *Clock) Observe(before, database, after time.Time) { panic("to be written") }
