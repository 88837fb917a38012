-- +goose Up
CREATE TABLE sqldb_settings (
    name  TEXT   NOT NULL PRIMARY KEY,
    value BYTEA  NOT NULL
);
CREATE TABLE sqldb_leases (
    name    TEXT   NOT NULL PRIMARY KEY,
    holder  TEXT   NOT NULL,
    epoch   BIGINT NOT NULL,
    expires BIGINT NOT NULL -- microseconds since 1970
);
