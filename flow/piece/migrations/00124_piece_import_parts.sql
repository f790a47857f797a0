-- +goose Up
-- What an URL is a version of; whose token claimed it; that only the node itself
-- does it; the file its copy grows in, and how much of that is durable; and what a
-- node apart found, '' until it did.
ALTER TABLE piece_import ADD COLUMN version TEXT NOT NULL DEFAULT '';
ALTER TABLE piece_import ADD COLUMN token_id BIGINT NOT NULL DEFAULT 0;
ALTER TABLE piece_import ADD COLUMN own BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE piece_import ADD COLUMN work TEXT NOT NULL DEFAULT '';
ALTER TABLE piece_import ADD COLUMN kept_bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE piece_import ADD COLUMN found_index TEXT NOT NULL DEFAULT '';
ALTER TABLE piece_import ADD COLUMN found_root TEXT NOT NULL DEFAULT '';
ALTER TABLE piece_import ADD COLUMN found_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE piece_import ADD COLUMN found_by BIGINT NOT NULL DEFAULT 0;

CREATE INDEX piece_import_found_by ON piece_import (project_id, found_by);

-- How far an import is: its parts stand in the blob store and follow on each
-- other. reaches is where in the CAR the next one begins.
CREATE TABLE piece_import_part (
    import_id BIGINT NOT NULL REFERENCES piece_import (id),
    number    BIGINT NOT NULL,
    place     TEXT   NOT NULL,
    reaches   BIGINT NOT NULL,
    token_id  BIGINT NOT NULL,
    PRIMARY KEY (import_id, number)
);

-- Tokens of role commp that handed in what was not so.
CREATE TABLE piece_liar (
    project_id BIGINT    NOT NULL,
    token_id   BIGINT    NOT NULL,
    reason     TEXT      NOT NULL,
    created_at TIMESTAMP NOT NULL,
    PRIMARY KEY (project_id, token_id)
);

-- Why a piece is not what its CID says; '' is: nobody says so.
ALTER TABLE piece ADD COLUMN wrong TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE piece DROP COLUMN wrong;
DROP TABLE piece_liar;
DROP TABLE piece_import_part;
DROP INDEX piece_import_found_by;
ALTER TABLE piece_import DROP COLUMN found_by;
ALTER TABLE piece_import DROP COLUMN found_at;
ALTER TABLE piece_import DROP COLUMN found_root;
ALTER TABLE piece_import DROP COLUMN found_index;
ALTER TABLE piece_import DROP COLUMN kept_bytes;
ALTER TABLE piece_import DROP COLUMN work;
ALTER TABLE piece_import DROP COLUMN own;
ALTER TABLE piece_import DROP COLUMN token_id;
ALTER TABLE piece_import DROP COLUMN version;
