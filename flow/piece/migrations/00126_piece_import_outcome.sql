-- +goose Up
-- What kind of error ended an import, '' of none; whether its piece was known
-- before; and what whoever asked for it should know of a piece that came of it.
ALTER TABLE piece_import ADD COLUMN fault_kind TEXT NOT NULL DEFAULT '';
ALTER TABLE piece_import ADD COLUMN known BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE piece_import ADD COLUMN note TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE piece_import DROP COLUMN note;
ALTER TABLE piece_import DROP COLUMN known;
ALTER TABLE piece_import DROP COLUMN fault_kind;
