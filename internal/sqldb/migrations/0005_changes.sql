-- Versioned resources, their history and who changed them (package changes).

-- +goose Up
CREATE TABLE changes_head (
    one BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
    revision BIGINT NOT NULL,
    trimmed BIGINT NOT NULL,
    audit_sequence BIGINT NOT NULL,
    audit_hash TEXT NOT NULL
);
INSERT INTO changes_head (one, revision, trimmed, audit_sequence, audit_hash) VALUES (1, 0, 0, 0, '');

-- The body of a resource is in the history row of its revision.
CREATE TABLE changes_resources (
    name TEXT NOT NULL PRIMARY KEY,
    revision BIGINT NOT NULL,
    expires BIGINT NOT NULL -- microseconds since 1970, 0 = never
);
CREATE INDEX changes_resources_expiring ON changes_resources (expires) WHERE expires > 0;

-- History is both the stored revisions and the feed that followers read.
CREATE TABLE changes_history (
    revision BIGINT NOT NULL,
    idx BIGINT NOT NULL,
    name TEXT NOT NULL,
    body BYTEA,
    withdraw BIGINT NOT NULL,
    time BIGINT NOT NULL,
    actor TEXT NOT NULL,
    method TEXT NOT NULL,
    PRIMARY KEY (revision, idx)
);
CREATE INDEX changes_history_by_name ON changes_history (name, revision);
CREATE INDEX changes_history_withdrawals ON changes_history (revision) WHERE withdraw = 1;

CREATE TABLE changes_audit (
    sequence BIGINT NOT NULL PRIMARY KEY,
    time BIGINT NOT NULL,
    actor TEXT NOT NULL,
    method TEXT NOT NULL,
    resource TEXT NOT NULL,
    revision BIGINT NOT NULL,
    request_id TEXT NOT NULL,
    hash_before TEXT NOT NULL,
    hash_after TEXT NOT NULL,
    note TEXT NOT NULL,
    chain_hash TEXT NOT NULL
);

CREATE TABLE changes_requests (
    actor TEXT NOT NULL,
    method TEXT NOT NULL,
    request_id TEXT NOT NULL,
    arguments BYTEA NOT NULL,
    revision BIGINT NOT NULL,
    answer BYTEA NOT NULL,
    time BIGINT NOT NULL,
    PRIMARY KEY (actor, method, request_id)
);
CREATE INDEX changes_requests_by_time ON changes_requests (time);

CREATE TABLE changes_replicas (
    id TEXT NOT NULL PRIMARY KEY,
    applied BIGINT NOT NULL,
    ready BIGINT NOT NULL,
    seen BIGINT NOT NULL
);

-- +goose Down
DROP TABLE changes_replicas;
DROP TABLE changes_requests;
DROP TABLE changes_audit;
DROP TABLE changes_history;
DROP TABLE changes_resources;
DROP TABLE changes_head;
