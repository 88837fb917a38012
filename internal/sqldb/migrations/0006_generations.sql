-- The latest of every ranked list and of the films' counts, as package generations seals them.

-- +goose Up
CREATE TABLE generations_head (
    one BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
    number BIGINT NOT NULL
);
INSERT INTO generations_head (one, number) VALUES (1, 0);

CREATE TABLE generations_lists (
    chart TEXT NOT NULL,
    market TEXT NOT NULL,
    number BIGINT NOT NULL,
    body BYTEA NOT NULL,
    PRIMARY KEY (chart, market)
);

-- +goose Down
DROP TABLE generations_lists;
DROP TABLE generations_head;
