-- +goose Up
-- User and password of an URL, sealed, until the import is over.
ALTER TABLE piece_import ADD COLUMN login BYTEA;

-- +goose Down
ALTER TABLE piece_import DROP COLUMN login;
