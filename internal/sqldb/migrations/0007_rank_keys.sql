-- What the ranker has counted on the days that events still come from (package rank): part of
-- its checkpoint, so that a new leader need not read those days' events again.

-- +goose Up
CREATE TABLE rank_keys (
    number BIGINT NOT NULL PRIMARY KEY,
    day BIGINT NOT NULL,
    body BYTEA NOT NULL
);
CREATE INDEX rank_keys_by_day ON rank_keys (day, number);

-- +goose Down
DROP TABLE rank_keys;
