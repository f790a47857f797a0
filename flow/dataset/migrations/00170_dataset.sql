-- +goose Up
CREATE TABLE dataset (
    id         {{identity}},
    project_id BIGINT    NOT NULL,
    name       TEXT      NOT NULL,
    rules      TEXT      NOT NULL,
    removed    BOOLEAN   NOT NULL DEFAULT FALSE,
    created_at TIMESTAMP NOT NULL,
    updated_at TIMESTAMP NOT NULL
);

CREATE UNIQUE INDEX dataset_name ON dataset (project_id, name) WHERE NOT removed;
CREATE INDEX dataset_project ON dataset (project_id, id);

-- Sources outlive their datasets: pieces are read from them.
CREATE TABLE dataset_source (
    id         {{identity}},
    project_id BIGINT    NOT NULL,
    dataset_id BIGINT    NOT NULL REFERENCES dataset (id),
    at         TEXT      NOT NULL,
    url        TEXT      NOT NULL,
    options    BYTEA,
    created_at TIMESTAMP NOT NULL,
    updated_at TIMESTAMP NOT NULL
);

CREATE UNIQUE INDEX dataset_source_at ON dataset_source (dataset_id, at);

CREATE TABLE dataset_preparation (
    id              {{identity}},
    project_id      BIGINT    NOT NULL,
    dataset_id      BIGINT    NOT NULL REFERENCES dataset (id),
    ordinal         BIGINT    NOT NULL,
    state           TEXT      NOT NULL CHECK (state IN ('active', 'paused', 'complete', 'failed', 'removed')),
    stage           TEXT      NOT NULL CHECK (stage IN ('scan', 'pack', 'index', 'over')),
    rules           TEXT      NOT NULL,
    prior           BIGINT    NOT NULL DEFAULT 0,
    scan            TEXT      NOT NULL DEFAULT '',
    reason          TEXT      NOT NULL DEFAULT '',
    attempt         BIGINT    NOT NULL DEFAULT 0,
    next_attempt_at TIMESTAMP,
    files           BIGINT    NOT NULL DEFAULT 0,
    bytes           BIGINT    NOT NULL DEFAULT 0,
    carried         BIGINT    NOT NULL DEFAULT 0,
    skipped         BIGINT    NOT NULL DEFAULT 0,
    chunks          BIGINT    NOT NULL DEFAULT 0,
    chunks_done     BIGINT    NOT NULL DEFAULT 0,
    root            TEXT      NOT NULL DEFAULT '',
    index_root      TEXT      NOT NULL DEFAULT '',
    index_plan      BIGINT    NOT NULL DEFAULT 0,
    index_piece     BIGINT    NOT NULL DEFAULT 0,
    started_at      TIMESTAMP NOT NULL,
    finished_at     TIMESTAMP,
    updated_at      TIMESTAMP NOT NULL
);

CREATE UNIQUE INDEX dataset_preparation_ordinal ON dataset_preparation (dataset_id, ordinal);
-- A dataset is prepared once at a time.
CREATE UNIQUE INDEX dataset_preparation_open ON dataset_preparation (dataset_id) WHERE state IN ('active', 'paused', 'failed');
CREATE INDEX dataset_preparation_project ON dataset_preparation (project_id, id);

CREATE TABLE dataset_chunk (
    id              {{identity}},
    project_id      BIGINT    NOT NULL,
    preparation_id  BIGINT    NOT NULL REFERENCES dataset_preparation (id),
    ordinal         BIGINT    NOT NULL,
    last            BOOLEAN   NOT NULL DEFAULT FALSE,
    state           TEXT      NOT NULL CHECK (state IN ('waiting', 'packing', 'packed', 'paused', 'failed', 'removed')),
    epoch           BIGINT    NOT NULL DEFAULT 0,
    worker          TEXT      NOT NULL DEFAULT '',
    reason          TEXT      NOT NULL DEFAULT '',
    attempt         BIGINT    NOT NULL DEFAULT 0,
    next_attempt_at TIMESTAMP,
    files           BIGINT    NOT NULL,
    bytes           BIGINT    NOT NULL,
    base_bytes      BIGINT    NOT NULL DEFAULT 0,
    done_files      BIGINT    NOT NULL DEFAULT 0,
    done_bytes      BIGINT    NOT NULL DEFAULT 0,
    skipped         BIGINT    NOT NULL DEFAULT 0,
    first_path      BYTEA,
    final_path      BYTEA,
    list            TEXT      NOT NULL,
    outcome         TEXT      NOT NULL DEFAULT '',
    pieces          TEXT      NOT NULL DEFAULT '',
    cars            TEXT      NOT NULL DEFAULT '',
    root            TEXT      NOT NULL DEFAULT '',
    started_at      TIMESTAMP,
    finished_at     TIMESTAMP,
    updated_at      TIMESTAMP NOT NULL
);

CREATE UNIQUE INDEX dataset_chunk_ordinal ON dataset_chunk (preparation_id, ordinal);
CREATE INDEX dataset_chunk_state ON dataset_chunk (preparation_id, state, ordinal);

-- +goose Down
DROP TABLE dataset_chunk;
DROP TABLE dataset_preparation;
DROP TABLE dataset_source;
DROP TABLE dataset;
