-- +goose Up
CREATE TABLE retrieval (
    id          {{identity}},
    project_id  BIGINT    NOT NULL,
    root        TEXT      NOT NULL,
    piece_cid   TEXT      NOT NULL,
    provider    TEXT      NOT NULL,
    method      TEXT      NOT NULL,
    state       TEXT      NOT NULL CHECK (state IN ('running', 'ok', 'failed')),
    reason      TEXT      NOT NULL DEFAULT '',
    bytes       BIGINT    NOT NULL DEFAULT 0,
    blocks      BIGINT    NOT NULL DEFAULT 0,
    ttfb_us     BIGINT    NOT NULL DEFAULT 0,
    took_us     BIGINT    NOT NULL DEFAULT 0,
    lease_until TIMESTAMP,
    at          TIMESTAMP NOT NULL
);

CREATE INDEX retrieval_project ON retrieval (project_id, id);
CREATE INDEX retrieval_provider ON retrieval (provider, id);
CREATE INDEX retrieval_lease ON retrieval (lease_until) WHERE state = 'running';

-- +goose Down
DROP TABLE retrieval;
