package sqldb

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

const (
	// dialTimeout bounds one attempt to connect.
	dialTimeout = 2 * time.Second
	// postgresWriters is how many of a process's transactions may wait for the counter rows
	// at a time; the rest of the pool is left to readers.
	postgresWriters = 8
	postgresConns   = 24
)

func postgresConfig(url string) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("the store's URL: %w", err) // pgx leaves the password out
	}
	return config, nil
}

func (d *DB) openPostgres(ctx context.Context, url string) error {
	d.dialect = goose.DialectPostgres
	d.writers = make(chan struct{}, postgresWriters)
	config, err := postgresConfig(url)
	if err != nil {
		return err
	}
	config.MaxConns = postgresConns
	config.MaxConnLifetime = time.Hour
	config.MaxConnIdleTime = 5 * time.Minute
	if config.ConnConfig.ConnectTimeout == 0 || config.ConnConfig.ConnectTimeout > dialTimeout {
		config.ConnConfig.ConnectTimeout = dialTimeout
	}
	if config.ConnConfig.RuntimeParams["application_name"] == "" {
		config.ConnConfig.RuntimeParams["application_name"] = "theater"
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return err
	}
	d.closePool = pool.Close
	d.write = open(stdlib.GetPoolConnector(pool), "postgresql")
	d.write.SetMaxIdleConns(0) // the pgx pool keeps them
	d.read = d.write
	// A line of its own: the pool may be busy when the question is whether anyone answers.
	d.sign = stdlib.OpenDB(*config.ConnConfig)
	d.sign.SetMaxOpenConns(1)
	for _, db := range []*sql.DB{d.write, d.sign} {
		if err := db.PingContext(ctx); err != nil {
			return fmt.Errorf("connecting to PostgreSQL: %w", err)
		}
	}
	return nil
}

// probe asks for a sign of life.
func (d *DB) probe(ctx context.Context) error {
	var one int
	return d.sign.QueryRowContext(ctx, "SELECT 1").Scan(&one)
}

// beginPostgres is the first statement of a transaction: the time, whose store this is, and
// limits the server keeps even if this process is gone. Reads are limited by their context.
func beginPostgres(ctx context.Context, tx *sql.Tx, write bool) (now int64, storeID []byte, err error) {
	query := `SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT), (SELECT value FROM sqldb_settings WHERE name = 'store_id')`
	if write {
		query += `, set_config('statement_timeout', '4500ms', true), set_config('lock_timeout', '4500ms', true), set_config('idle_in_transaction_session_timeout', '6s', true)`
		var discard string
		err = tx.QueryRowContext(ctx, query).Scan(&now, &storeID, &discard, &discard, &discard)
		return now, storeID, err
	}
	err = tx.QueryRowContext(ctx, query).Scan(&now, &storeID)
	return now, storeID, err
}
