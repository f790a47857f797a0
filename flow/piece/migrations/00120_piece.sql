-- +goose Up
CREATE TABLE piece_plan (
    id         {{identity}},
    project_id BIGINT    NOT NULL,
    label      TEXT      NOT NULL,
    roots      TEXT      NOT NULL,
    state      TEXT      NOT NULL CHECK (state IN ('planned', 'packing', 'packed', 'failed')),
    reason     TEXT      NOT NULL DEFAULT '',
    created_at TIMESTAMP NOT NULL,
    updated_at TIMESTAMP NOT NULL
);

CREATE TABLE piece (
    id           {{identity}},
    project_id   BIGINT    NOT NULL,
    piece_cid    TEXT      NOT NULL,
    piece_cid_v1 TEXT      NOT NULL,
    root         TEXT      NOT NULL,
    car_size     BIGINT    NOT NULL,
    padded_size  BIGINT    NOT NULL,
    blocks       BIGINT    NOT NULL,
    cached       BOOLEAN   NOT NULL DEFAULT FALSE,
    created_at   TIMESTAMP NOT NULL
);

-- Equal plans of one project become the same piece.
CREATE UNIQUE INDEX piece_cid ON piece (project_id, piece_cid);
CREATE INDEX piece_project ON piece (project_id, id);
CREATE INDEX piece_by_cid ON piece (piece_cid);
CREATE INDEX piece_by_cid_v1 ON piece (piece_cid_v1);

CREATE TABLE piece_part (
    plan_id  BIGINT NOT NULL REFERENCES piece_plan (id),
    part     BIGINT NOT NULL,
    piece_id BIGINT NOT NULL REFERENCES piece (id),
    PRIMARY KEY (plan_id, part)
);

-- +goose Down
DROP TABLE piece_part;
DROP TABLE piece;
DROP TABLE piece_plan;
