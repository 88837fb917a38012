//go:build unix

package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"os"
	"runtime"
	"strings"
	"syscall"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
)

func (d *DB) openSQLite(path string) error {
	var err error
	if d.lock, err = lockFile(path); err != nil {
		return err
	}
	d.dialect = goose.DialectSQLite3
	d.writers = make(chan struct{}, 1)
	// fullfsync makes an fsync reach the disk on macOS and is ignored elsewhere.
	// secure_delete overwrites what is deleted from a page, for the sake of children's keys.
	pragmas := []string{"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)", "fullfsync(1)", "checkpoint_fullfsync(1)",
		"foreign_keys(1)", "temp_store(MEMORY)", "secure_delete(FAST)", "cache_size(-65536)", "wal_autocheckpoint(4000)"}
	d.write = open(sqliteConnector(path, url.Values{"_pragma": pragmas, "_txlock": {"immediate"}}), "sqlite")
	d.write.SetMaxOpenConns(1)
	if err := d.write.PingContext(context.Background()); err != nil {
		return fmt.Errorf("opening %s: %w", path, err)
	}
	readers := max(4, 2*runtime.GOMAXPROCS(0))
	d.read = open(sqliteConnector(path, url.Values{"_pragma": {"busy_timeout(5000)", "query_only(1)", "cache_size(-16384)"}}), "sqlite")
	d.read.SetMaxOpenConns(readers)
	d.read.SetMaxIdleConns(readers)
	return nil
}

type connector struct {
	dsn    string
	driver *sqlite.Driver
}

func (c connector) Connect(context.Context) (driver.Conn, error) { return c.driver.Open(c.dsn) }
func (c connector) Driver() driver.Driver                        { return c.driver }

func sqliteConnector(path string, options url.Values) driver.Connector {
	u := url.URL{Path: path}
	return connector{"file:" + u.EscapedPath() + "?" + options.Encode(), &sqlite.Driver{}}
}

// lockFile takes the lock that makes this process the only one with the database. It goes
// with the process, however that ends; the file stays.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the lock beside the database: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder := make([]byte, 32)
		n, _ := f.ReadAt(holder, 0)
		_ = f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("locking %s.lock: %w", path, err)
		}
		return nil, fmt.Errorf("%s is open in another process (pid %s): a SQLite store serves one process; stop that one, or use --store postgres://… to run several",
			path, strings.TrimSpace(string(holder[:n])))
	}
	if err := f.Truncate(0); err == nil {
		_, err = fmt.Fprintf(f, "%d\n", os.Getpid())
		if err != nil {
			_ = f.Close()
			return nil, fmt.Errorf("writing %s.lock: %w", path, err)
		}
	}
	return f, nil
}
