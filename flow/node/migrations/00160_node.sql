-- +goose Up
CREATE TABLE node (
    id         TEXT      NOT NULL PRIMARY KEY,
    roles      TEXT      NOT NULL,
    version    TEXT      NOT NULL,
    address    TEXT      NOT NULL,
    started_at TIMESTAMP NOT NULL,
    seen_at    TIMESTAMP NOT NULL
);

-- +goose Down
DROP TABLE node;
