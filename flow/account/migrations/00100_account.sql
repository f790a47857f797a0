-- +goose Up
CREATE TABLE account_project (
    id         BIGINT    NOT NULL PRIMARY KEY,
    name       TEXT      NOT NULL,
    created_at TIMESTAMP NOT NULL
);

CREATE TABLE account_token (
    id           {{identity}},
    project_id   BIGINT    NOT NULL REFERENCES account_project (id),
    name         TEXT      NOT NULL,
    prefix       TEXT      NOT NULL,
    hash         BYTEA     NOT NULL UNIQUE,
    scopes       TEXT      NOT NULL,
    expires_at   TIMESTAMP,
    revoked_at   TIMESTAMP,
    last_used_at TIMESTAMP,
    created_at   TIMESTAMP NOT NULL
);

CREATE INDEX account_token_project ON account_token (project_id, id);

-- +goose Down
DROP TABLE account_token;
DROP TABLE account_project;
