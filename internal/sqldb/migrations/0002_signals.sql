-- The ledger (package ledger) and the doors to it (package signals).

-- +goose Up
CREATE TABLE ledger_head (
    one BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
    seq BIGINT NOT NULL,
    trimmed BIGINT NOT NULL
);
INSERT INTO ledger_head (one, seq, trimmed) VALUES (1, 0, 0);

CREATE TABLE ledger_events (
    seq BIGINT NOT NULL PRIMARY KEY,
    day BIGINT NOT NULL,
    market TEXT NOT NULL,
    film TEXT NOT NULL,
    viewer BYTEA NOT NULL,
    kind BIGINT NOT NULL,
    value DOUBLE PRECISION NOT NULL,
    occur BIGINT NOT NULL,
    audience BIGINT NOT NULL,
    receipt BIGINT NOT NULL
);
CREATE INDEX ledger_events_by_day ON ledger_events (day, seq);

CREATE TABLE ledger_purges (
    seq BIGINT NOT NULL,
    old BYTEA NOT NULL,
    new BYTEA NOT NULL,
    PRIMARY KEY (seq, old)
);

CREATE TABLE ledger_traces (
    seq BIGINT NOT NULL PRIMARY KEY,
    traces TEXT NOT NULL
);

CREATE TABLE signals_day_keys (
    day BIGINT NOT NULL PRIMARY KEY,
    hash_key BYTEA NOT NULL
);

CREATE TABLE signals_purges (
    caller TEXT NOT NULL,
    request_id TEXT NOT NULL,
    arguments BYTEA NOT NULL,
    event_count BIGINT NOT NULL,
    create_time BIGINT NOT NULL,
    PRIMARY KEY (caller, request_id)
);

-- +goose Down
DROP TABLE signals_purges;
DROP TABLE signals_day_keys;
DROP TABLE ledger_traces;
DROP TABLE ledger_purges;
DROP TABLE ledger_events;
DROP TABLE ledger_head;
