-- The ranker's checkpoint (package rank): a state in segments, as of a place in the ledger.

-- +goose Up
CREATE TABLE rank_state (
    one BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
    body BYTEA NOT NULL
);

CREATE TABLE rank_segments (
    number BIGINT NOT NULL PRIMARY KEY,
    body BYTEA NOT NULL
);

CREATE TABLE rank_runs (
    compute_time BIGINT NOT NULL PRIMARY KEY,
    watermark BIGINT NOT NULL
);

-- +goose Down
DROP TABLE rank_runs;
DROP TABLE rank_segments;
DROP TABLE rank_state;
