-- +goose Up
-- Where in that file the CAR begins, behind the head of a CARv2, and how long the
-- file is; 0 where the file is the CAR.
ALTER TABLE piece ADD COLUMN car_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE piece ADD COLUMN car_length BIGINT NOT NULL DEFAULT 0;

-- CARs of somebody's on their way to become pieces. The epoch counts the claims;
-- whoever made the last one owns the row until the lease ends.
CREATE TABLE piece_import (
    id              {{identity}},
    project_id      BIGINT    NOT NULL,
    place           TEXT      NOT NULL,
    copied          BOOLEAN   NOT NULL,
    piece_cid       TEXT      NOT NULL DEFAULT '',
    root            TEXT      NOT NULL DEFAULT '',
    state           TEXT      NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'failed')),
    reason          TEXT      NOT NULL DEFAULT '',
    attempts        BIGINT    NOT NULL DEFAULT 0,
    next_attempt_at TIMESTAMP,
    done_bytes      BIGINT    NOT NULL DEFAULT 0,
    size            BIGINT    NOT NULL DEFAULT 0,
    file_mtime      BIGINT    NOT NULL DEFAULT 0,
    worker          TEXT      NOT NULL DEFAULT '',
    epoch           BIGINT    NOT NULL DEFAULT 0,
    lease_until     TIMESTAMP,
    piece_id        BIGINT    REFERENCES piece (id),
    created_at      TIMESTAMP NOT NULL,
    updated_at      TIMESTAMP NOT NULL
);

-- One place is imported once at a time.
CREATE UNIQUE INDEX piece_import_live ON piece_import (project_id, place) WHERE state IN ('waiting', 'running');
CREATE INDEX piece_import_project ON piece_import (project_id, id);

-- +goose Down
DROP TABLE piece_import;
ALTER TABLE piece DROP COLUMN car_length;
ALTER TABLE piece DROP COLUMN car_at;
