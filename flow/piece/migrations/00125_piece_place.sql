-- +goose Up
-- The CARs this node has written, each place by whom it is wanted: what nobody
-- wants any more is deleted, what is not listed here never. A place is a path, an
-- URL of a bucket's object, or a key of the blob store behind "blob:".
CREATE TABLE piece_place (
    id         {{identity}},
    piece_id   BIGINT    NOT NULL REFERENCES piece (id),
    place      TEXT      NOT NULL,
    holder     TEXT      NOT NULL,
    state      TEXT      NOT NULL CHECK (state IN ('kept', 'released', 'deleting', 'gone')),
    reason     TEXT      NOT NULL DEFAULT '',
    created_at TIMESTAMP NOT NULL,
    updated_at TIMESTAMP NOT NULL
);

CREATE UNIQUE INDEX piece_place_holder ON piece_place (place, piece_id, holder);
CREATE INDEX piece_place_of ON piece_place (piece_id, state);

-- +goose Down
DROP TABLE piece_place;
