package sqldb

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
)

const (
	// writeTimeout bounds a write, its retries included.
	writeTimeout = 5 * time.Second
	// maxTries is how often a transaction is tried that the database undoes.
	maxTries = 20
)

// Tx is a transaction.
type Tx struct {
	ctx     context.Context
	tx      *sql.Tx
	db      *DB
	now     time.Time
	storeID string
}

// Write runs fn in a read-write transaction and commits it durably. The transaction is not
// tied to ctx's cancellation once begun, and fails within 5 s of a database that stalls.
// fn may run more than once. A database that cannot work comes back as
// fault.StoreUnavailable (whether a commit it was asked for took place is then unknown),
// an error of fn as it is.
func (d *DB) Write(ctx context.Context, fn func(tx *Tx) error) error {
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	if d.Down() {
		return fault.StoreUnavailable(errDown)
	}
	if err := d.queue(ctx, limit); err != nil {
		return err
	}
	defer func() { <-d.writers }()
	err := d.try(limit, fn, func(ctx context.Context) (*sql.Tx, error) {
		if d.Postgres() {
			return d.write.BeginTx(ctx, nil)
		}
		// A context that can end would interrupt SQLite in the middle of a commit.
		return d.write.BeginTx(context.WithoutCancel(ctx), nil)
	}, true)
	if err == nil || refusal(err) {
		d.readOnly.Store(err != nil)
	}
	return err
}

// queue waits for a place among the writers, while the caller is there and the database is.
func (d *DB) queue(ctx, limit context.Context) error {
	select {
	case d.writers <- struct{}{}:
		return nil
	default:
	}
	select {
	case d.writers <- struct{}{}:
		return nil
	case <-d.health.falling():
		return fault.StoreUnavailable(errDown)
	case <-limit.Done():
		return fault.StoreUnavailable(errors.New("the queue of writers is too long"))
	case <-ctx.Done():
		return gone(ctx)
	}
}

// Read runs fn in a read-only transaction that sees one snapshot. fn may run more than once.
// Errors are as with Write.
func (d *DB) Read(ctx context.Context, fn func(tx *Tx) error) error {
	err := d.try(ctx, fn, func(ctx context.Context) (*sql.Tx, error) {
		if d.Postgres() {
			return d.read.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
		}
		return d.read.BeginTx(ctx, nil)
	}, false)
	if err != nil && ctx.Err() != nil && fault.Is(err, pb.ErrorReason_STORE_UNAVAILABLE) {
		return gone(ctx)
	}
	return err
}

// gone is the fault of a caller who did not stay.
func gone(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fault.New(fault.DeadlineExceeded, pb.ErrorReason_DEADLINE_EXCEEDED, "the call's deadline passed")
	}
	return fault.New(fault.Cancelled, pb.ErrorReason_CANCELLED, "the caller went away")
}

// beginError is an error from before the transaction was asked for anything.
type beginError struct{ error }

func (e *beginError) Unwrap() error { return e.error }

func (d *DB) try(ctx context.Context, fn func(*Tx) error, begin func(context.Context) (*sql.Tx, error), write bool) error {
	ctx, done, err := d.health.call(ctx)
	if err != nil {
		return fault.StoreUnavailable(err)
	}
	defer done()
	for tries := 1; ; tries++ {
		err := d.once(ctx, fn, begin, write)
		if err == nil {
			return nil
		}
		// A connection from the pool may have died unnoticed: nothing was asked of it yet.
		stale := errors.As(err, new(*beginError)) && Away(err) && tries < 3
		if !retryable(err) && !stale || tries == maxTries || ctx.Err() != nil {
			return translate(err)
		}
		select {
		case <-time.After(time.Duration(rand.Int64N(int64(min(tries, 10)))+1) * 2 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func (d *DB) once(ctx context.Context, fn func(*Tx) error, begin func(context.Context) (*sql.Tx, error), write bool) (err error) {
	tx, err := begin(ctx)
	if err != nil {
		return &beginError{err}
	}
	defer func() {
		if err != nil {
			_ = tx.Rollback()
		}
	}()
	t := &Tx{ctx: ctx, tx: tx, db: d}
	if !d.Postgres() && write {
		t.ctx = context.WithoutCancel(ctx)
	}
	if err := t.start(write); err != nil {
		return &beginError{err}
	}
	if err := fn(t); err != nil {
		return err
	}
	if write {
		if err := tx.Commit(); err != nil {
			return err
		}
		d.health.answered()
		return nil
	}
	_ = tx.Rollback() // a reader leaves nothing behind
	return nil
}

// start learns the database's time.
func (t *Tx) start(write bool) error {
	before := time.Now()
	if !t.db.Postgres() {
		t.now, t.storeID = before.Round(0).UTC().Truncate(time.Microsecond), t.db.storeID
		t.db.clock.Observe(before, t.now, before)
		return nil
	}
	now, storeID, err := beginPostgres(t.ctx, t.tx, write)
	if err != nil {
		return err
	}
	t.now, t.storeID = time.UnixMicro(now).UTC(), hex.EncodeToString(storeID)
	t.db.clock.Observe(before, t.now, time.Now())
	t.db.health.answered()
	return nil
}

// Exec runs a statement with $1 placeholders and gives the number of rows it changed.
func (t *Tx) Exec(query string, args ...any) (int64, error) {
	result, err := t.tx.ExecContext(t.ctx, query, args...)
	if err != nil {
		return 0, err
	}
	t.db.health.answered()
	return result.RowsAffected()
}

// Query runs a query.
func (t *Tx) Query(query string, args ...any) (*sql.Rows, error) {
	rows, err := t.tx.QueryContext(t.ctx, query, args...)
	if err == nil {
		t.db.health.answered()
	}
	return rows, err
}

// QueryRow runs a query of one row.
func (t *Tx) QueryRow(query string, args ...any) *sql.Row {
	row := t.tx.QueryRowContext(t.ctx, query, args...)
	if row.Err() == nil {
		t.db.health.answered()
	}
	return row
}

// Insert adds rows with as few statements as the database allows. into is
// "table (a, b, c)", suffix is empty or "ON CONFLICT …" without parameters; values holds the rows back
// to back, each an int, int64, float64, string or []byte. A nil []byte is NULL.
func (t *Tx) Insert(into string, columns int, values []any, suffix string) error {
	if columns <= 0 || len(values)%columns != 0 {
		return fmt.Errorf("sqldb: %d values are no rows of %d columns", len(values), columns)
	}
	insert, rows := t.insertRows, 100 // SQLite parses each text again; more rows gain nothing
	if t.db.Postgres() {
		insert, rows = t.insertArrays, 2000
	}
	for len(values) > 0 {
		n := min(rows, len(values)/columns)
		if err := insert(into, columns, values[:n*columns], suffix); err != nil {
			return err
		}
		values = values[n*columns:]
	}
	return nil
}

// insertRows is for SQLite. The parameters have no numbers: SQLite takes $1, $2, … for names and
// looks up each one in a list, and a hundred rows then cost fifty times as much.
func (t *Tx) insertRows(into string, columns int, values []any, suffix string) error {
	row := ",(?" + strings.Repeat(",?", columns-1) + ")"
	rows := strings.Repeat(row, len(values)/columns)
	_, err := t.Exec("INSERT INTO "+into+" VALUES "+rows[1:]+" "+suffix, values...)
	return err
}

// insertArrays is for PostgreSQL: one array per column, so that the statement is short, the same
// for any number of rows, and planned once per connection.
func (t *Tx) insertArrays(into string, columns int, values []any, suffix string) error {
	arrays, casts := make([]any, columns), make([]string, columns)
	for c := range columns {
		var kind string
		var err error
		switch values[c].(type) {
		case int:
			kind = "bigint"
			arrays[c], err = column[int](values, c, columns)
		case int64:
			kind = "bigint"
			arrays[c], err = column[int64](values, c, columns)
		case float64:
			kind = "double precision"
			arrays[c], err = column[float64](values, c, columns)
		case string:
			kind = "text"
			arrays[c], err = column[string](values, c, columns)
		case []byte:
			kind = "bytea"
			arrays[c], err = column[[]byte](values, c, columns)
		default:
			err = fmt.Errorf("sqldb: cannot insert a %T", values[c])
		}
		if err != nil {
			return err
		}
		casts[c] = fmt.Sprintf("$%d::%s[]", c+1, kind)
	}
	_, err := t.Exec("INSERT INTO "+into+" SELECT * FROM unnest("+strings.Join(casts, ", ")+") "+suffix, arrays...)
	return err
}

// column gives the values of one column, all of one type.
func column[T any](values []any, c, columns int) ([]T, error) {
	out := make([]T, 0, len(values)/columns)
	for i := c; i < len(values); i += columns {
		v, ok := values[i].(T)
		if !ok {
			return nil, fmt.Errorf("sqldb: column %d holds a %T and a %T", c+1, values[c], values[i])
		}
		out = append(out, v)
	}
	return out, nil
}

// Now is the database's time at the beginning of the transaction, in UTC, to the microsecond.
func (t *Tx) Now() time.Time { return t.now }

// Time is the database's time at this moment: after a wait for a lock, when Now is past.
func (t *Tx) Time() (time.Time, error) {
	if !t.db.Postgres() {
		return time.Now().Round(0).UTC().Truncate(time.Microsecond), nil
	}
	var now int64
	err := t.QueryRow("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)").Scan(&now)
	return time.UnixMicro(now).UTC(), err
}

// StoreID is the id of the database that runs this transaction.
func (t *Tx) StoreID() string { return t.storeID }
