package sqldb

import (
	"context"
	"crypto/rand"
	"database/sql"
	"database/sql/driver"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/XSAM/otelsql"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

//go:embed migrations/*.sql
var migrations embed.FS

// DB is an open database.
type DB struct {
	write, read *sql.DB
	sign        *sql.DB // PostgreSQL: the prober's
	dialect     goose.Dialect
	writers     chan struct{} // a place per transaction that may write at a time, first come first served
	clock       *Clock
	health      health
	readOnly    atomic.Bool
	closePool   func()   // PostgreSQL
	lock        *os.File // SQLite

	storeID    string
	rootSecret []byte

	stop context.CancelFunc
	wg   sync.WaitGroup
}

// Open opens "sqlite:PATH" or "postgres://…" and applies the migrations. A SQLite file that
// another process has open is refused. A PostgreSQL that is away is an error at once.
func Open(ctx context.Context, url string) (*DB, error) {
	if err := Check(url); err != nil {
		return nil, err
	}
	d := &DB{clock: NewClock()}
	var err error
	if path, ok := strings.CutPrefix(url, "sqlite:"); ok {
		err = d.openSQLite(path)
	} else {
		err = d.openPostgres(ctx, url)
	}
	if err == nil {
		err = d.prepare(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// Check says what is wrong with a URL for Open, and opens nothing.
func Check(url string) error {
	scheme, rest, _ := strings.Cut(url, ":")
	switch scheme {
	case "sqlite":
		if rest == "" || strings.ContainsAny(rest, "\x00") || strings.HasPrefix(rest, ":memory:") {
			return errors.New("sqlite: needs the path of a file, for example sqlite:theater.db")
		}
		return nil
	case "postgres", "postgresql":
		_, err := postgresConfig(url)
		return err
	}
	return fmt.Errorf("the store must be sqlite:PATH or postgres://…, not %q", scheme)
}

// prepare migrates, reads the settings and starts the prober.
func (d *DB) prepare(ctx context.Context) error {
	if err := d.migrate(ctx); err != nil {
		return fmt.Errorf("migrating the database: %w", err)
	}
	d.health.init(time.Now())
	if err := d.settings(ctx); err != nil {
		return fmt.Errorf("reading the database's settings: %w", err)
	}
	if d.Postgres() {
		var probing context.Context
		probing, d.stop = context.WithCancel(context.Background())
		d.wg.Go(func() { d.health.run(probing, d.probe) })
	}
	return nil
}

func (d *DB) migrate(ctx context.Context) error {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	// Rooms number their migrations apart, so a lower number may land later.
	options := []goose.ProviderOption{goose.WithDisableGlobalRegistry(true), goose.WithAllowOutofOrder(true)}
	if d.Postgres() {
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 120))
		if err != nil {
			return err
		}
		options = append(options, goose.WithSessionLocker(locker))
	}
	provider, err := goose.NewProvider(d.dialect, d.write, dir, options...)
	if err != nil {
		return err
	}
	_, err = provider.Up(ctx)
	return err
}

// settings makes the store's id and root secret if this is its first start; of several
// starters one wins.
func (d *DB) settings(ctx context.Context) error {
	fresh := make([]byte, 48)
	if _, err := rand.Read(fresh); err != nil {
		return err
	}
	return d.Write(ctx, func(tx *Tx) error {
		err := tx.Insert("sqldb_settings (name, value)", 2, []any{"store_id", fresh[:16], "root_secret", fresh[16:]}, "ON CONFLICT (name) DO NOTHING")
		if err != nil {
			return err
		}
		var id []byte
		if err := tx.QueryRow("SELECT value FROM sqldb_settings WHERE name = 'store_id'").Scan(&id); err != nil {
			return err
		}
		d.storeID = hex.EncodeToString(id)
		return tx.QueryRow("SELECT value FROM sqldb_settings WHERE name = 'root_secret'").Scan(&d.rootSecret)
	})
}

// Close closes the database and gives the file's lock back.
func (d *DB) Close() error {
	if d.stop != nil {
		d.stop()
	}
	d.wg.Wait()
	var errs []error
	if d.read != nil && d.read != d.write {
		errs = append(errs, d.read.Close())
	}
	if d.sign != nil {
		errs = append(errs, d.sign.Close())
	}
	if d.write != nil {
		errs = append(errs, d.write.Close())
	}
	if d.closePool != nil {
		d.closePool()
	}
	if d.lock != nil {
		errs = append(errs, d.lock.Close())
	}
	return errors.Join(errs...)
}

// Postgres reports whether several processes may share this database.
func (d *DB) Postgres() bool { return d.dialect == goose.DialectPostgres }

// StoreID is random, made with the database; another id behind the same address means
// another database. Tx.StoreID tells the id of the database that answers now.
func (d *DB) StoreID() string { return d.storeID }

// RootSecret is 32 random bytes made with the database, used where no secret file is given.
func (d *DB) RootSecret() []byte { return d.rootSecret }

// Clock follows the database's time.
func (d *DB) Clock() *Clock { return d.clock }

// Down reports whether the database does not answer at present.
func (d *DB) Down() bool { return d.health.isDown() }

// ReadOnly reports whether the database answers and refused the last write: it is read-only, or
// its disk is full.
func (d *DB) ReadOnly() bool { return d.readOnly.Load() }

// open makes a pool whose statements are spans of the trace they belong to; loops that poll
// have no trace and make no spans.
func open(c driver.Connector, system string) *sql.DB {
	return otelsql.OpenDB(c,
		otelsql.WithAttributes(attribute.String("db.system", system), attribute.String("db.system.name", system)),
		otelsql.WithSpanOptions(otelsql.SpanOptions{
			OmitConnResetSession: true,
			OmitConnPrepare:      true,
			OmitRows:             true,
			OmitConnectorConnect: true,
			SpanFilter: func(ctx context.Context, _ otelsql.Method, _ string, _ []driver.NamedValue) bool {
				return trace.SpanContextFromContext(ctx).IsValid()
			},
		}))
}
