-- +goose Up
-- The IPNS name of a dataset outlives its withdrawal: published again, it is the
-- same name, and its sequence goes on.
CREATE TABLE dataset_ipns (
    id             {{identity}},
    project_id     BIGINT    NOT NULL,
    dataset_id     BIGINT    NOT NULL REFERENCES dataset (id),
    name           TEXT      NOT NULL,
    secret         BYTEA     NOT NULL,
    published      BOOLEAN   NOT NULL,
    preparation_id BIGINT    NOT NULL DEFAULT 0,
    target         TEXT      NOT NULL DEFAULT '',
    sequence       BIGINT    NOT NULL DEFAULT 0,
    record         BYTEA,
    signed_at      TIMESTAMP,
    renew_at       TIMESTAMP,
    expires_at     TIMESTAMP,
    created_at     TIMESTAMP NOT NULL,
    updated_at     TIMESTAMP NOT NULL
);

CREATE UNIQUE INDEX dataset_ipns_dataset ON dataset_ipns (dataset_id);
CREATE UNIQUE INDEX dataset_ipns_name ON dataset_ipns (name);
CREATE INDEX dataset_ipns_published ON dataset_ipns (id) WHERE published;

-- What a delegated router has of a name.
CREATE TABLE dataset_ipns_router (
    id              {{identity}},
    name_id         BIGINT    NOT NULL REFERENCES dataset_ipns (id),
    url             TEXT      NOT NULL,
    sequence        BIGINT    NOT NULL DEFAULT 0,
    reason          TEXT      NOT NULL DEFAULT '',
    attempt         BIGINT    NOT NULL DEFAULT 0,
    next_attempt_at TIMESTAMP,
    delivered_at    TIMESTAMP,
    created_at      TIMESTAMP NOT NULL,
    updated_at      TIMESTAMP NOT NULL
);

CREATE UNIQUE INDEX dataset_ipns_router_url ON dataset_ipns_router (name_id, url);

-- Two who change the rules of a dataset at once hear of each other.
ALTER TABLE dataset ADD COLUMN revision BIGINT NOT NULL DEFAULT 1;
