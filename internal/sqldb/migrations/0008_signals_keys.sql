-- +goose Up
CREATE TABLE signals_keys (
    name TEXT NOT NULL PRIMARY KEY,
    sealed TEXT NOT NULL -- under a root secret
);

-- +goose Down
DROP TABLE signals_keys;
