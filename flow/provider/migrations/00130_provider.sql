-- +goose Up
CREATE TABLE provider (
    id             {{identity}},
    actor          TEXT      NOT NULL UNIQUE,
    peer_id        TEXT      NOT NULL DEFAULT '',
    multiaddrs     TEXT      NOT NULL DEFAULT '[]',
    http           TEXT      NOT NULL DEFAULT '',
    owner          TEXT      NOT NULL DEFAULT '',
    sector_size    BIGINT    NOT NULL DEFAULT 0,
    min_piece      BIGINT    NOT NULL DEFAULT 0,
    max_piece      BIGINT    NOT NULL DEFAULT 0,
    price          TEXT      NOT NULL DEFAULT '0',
    verified_price TEXT      NOT NULL DEFAULT '0',
    state          TEXT      NOT NULL CHECK (state IN ('new', 'online', 'offline')),
    reason         TEXT      NOT NULL DEFAULT '',
    checked_at     TIMESTAMP,
    created_at     TIMESTAMP NOT NULL
);

CREATE INDEX provider_state ON provider (state, id);
CREATE INDEX provider_checked ON provider (checked_at);

CREATE TABLE provider_observation (
    id          {{identity}},
    provider_id BIGINT    NOT NULL REFERENCES provider (id) ON DELETE CASCADE,
    kind        TEXT      NOT NULL,
    ok          BOOLEAN   NOT NULL,
    code        TEXT      NOT NULL DEFAULT '',
    reason      TEXT      NOT NULL DEFAULT '',
    bytes       BIGINT    NOT NULL DEFAULT 0,
    ttfb_us     BIGINT    NOT NULL DEFAULT 0,
    took_us     BIGINT    NOT NULL DEFAULT 0,
    at          TIMESTAMP NOT NULL
);

CREATE INDEX provider_observation_of ON provider_observation (provider_id, id);
CREATE INDEX provider_observation_failed ON provider_observation (at) WHERE NOT ok;

-- +goose Down
DROP TABLE provider_observation;
DROP TABLE provider;
