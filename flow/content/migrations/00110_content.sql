-- +goose Up
CREATE TABLE content_bucket (
    id              {{identity}},
    project_id      BIGINT    NOT NULL,
    state           TEXT      NOT NULL CHECK (state IN ('open', 'closing', 'packing', 'ready', 'dealing', 'complete', 'collected', 'failed')),
    size            BIGINT    NOT NULL DEFAULT 0,
    contents        BIGINT    NOT NULL DEFAULT 0,
    plan_id         BIGINT    NOT NULL DEFAULT 0,
    reason          TEXT      NOT NULL DEFAULT '',
    attempt         BIGINT    NOT NULL DEFAULT 0,
    opened_at       TIMESTAMP NOT NULL,
    closes_at       TIMESTAMP NOT NULL,
    next_attempt_at TIMESTAMP,
    updated_at      TIMESTAMP NOT NULL
);

-- A project fills one bucket at a time.
CREATE UNIQUE INDEX content_bucket_open ON content_bucket (project_id) WHERE state = 'open';
CREATE INDEX content_bucket_state ON content_bucket (state, id);
CREATE INDEX content_bucket_project ON content_bucket (project_id, id);
CREATE INDEX content_bucket_plan ON content_bucket (plan_id);

CREATE TABLE content (
    id          {{identity}},
    project_id  BIGINT    NOT NULL,
    name        TEXT      NOT NULL,
    cid         TEXT      NOT NULL DEFAULT '',
    size        BIGINT    NOT NULL DEFAULT 0,
    files       BIGINT    NOT NULL DEFAULT 0,
    profile     TEXT      NOT NULL,
    state       TEXT      NOT NULL CHECK (state IN ('receiving', 'fetching', 'stored', 'packed', 'stored_on_filecoin', 'failed', 'removed')),
    reason      TEXT      NOT NULL DEFAULT '',
    bucket_id   BIGINT    REFERENCES content_bucket (id),
    lease_until TIMESTAMP,
    created_at  TIMESTAMP NOT NULL,
    updated_at  TIMESTAMP NOT NULL
);

CREATE INDEX content_project ON content (project_id, id);
CREATE INDEX content_cid ON content (project_id, cid, id);
CREATE INDEX content_bucket_id ON content (bucket_id, id);
CREATE INDEX content_lease ON content (lease_until) WHERE state = 'receiving';

-- +goose Down
DROP TABLE content;
DROP TABLE content_bucket;
