-- +goose Up
CREATE TABLE deal_policy (
    id                 {{identity}},
    project_id         BIGINT    NOT NULL,
    name               TEXT      NOT NULL,
    copies             BIGINT    NOT NULL,
    every_piece        BOOLEAN   NOT NULL,
    pieces             TEXT      NOT NULL,
    providers          TEXT      NOT NULL,
    wallet             TEXT      NOT NULL,
    max_price          TEXT      NOT NULL,
    duration_epochs    BIGINT    NOT NULL,
    start_delay_epochs BIGINT    NOT NULL,
    verified           BOOLEAN   NOT NULL,
    state              TEXT      NOT NULL CHECK (state IN ('active', 'paused', 'removed')),
    reason             TEXT      NOT NULL DEFAULT '',
    version            BIGINT    NOT NULL DEFAULT 0,
    created_at         TIMESTAMP NOT NULL,
    updated_at         TIMESTAMP NOT NULL
);

CREATE INDEX deal_policy_project ON deal_policy (project_id, id);

-- What deals have to know of a piece, and when the reconciler looks at it next:
-- never, where nothing is lacking. The id is the piece's. turn makes of several
-- reconcilers one.
CREATE TABLE deal_piece (
    id           BIGINT    NOT NULL PRIMARY KEY,
    project_id   BIGINT    NOT NULL,
    piece_cid    TEXT      NOT NULL,
    piece_cid_v1 TEXT      NOT NULL,
    root         TEXT      NOT NULL,
    car_size     BIGINT    NOT NULL,
    padded_size  BIGINT    NOT NULL,
    turn         BIGINT    NOT NULL DEFAULT 0,
    waits        BIGINT    NOT NULL DEFAULT 0,
    reason       TEXT      NOT NULL DEFAULT '',
    next_at      TIMESTAMP
);

CREATE INDEX deal_piece_project ON deal_piece (project_id, id);
CREATE INDEX deal_piece_next ON deal_piece (next_at) WHERE next_at IS NOT NULL;

-- Which pieces a policy is about.
CREATE TABLE deal_target (
    policy_id BIGINT NOT NULL REFERENCES deal_policy (id),
    piece_id  BIGINT NOT NULL REFERENCES deal_piece (id),
    PRIMARY KEY (policy_id, piece_id)
);

CREATE INDEX deal_target_piece ON deal_target (piece_id, policy_id);

-- How far the pieces have been taken over. Whoever holds the row is the only
-- one to join pieces and policies.
CREATE TABLE deal_position (
    id  BIGINT NOT NULL PRIMARY KEY,
    pos BIGINT NOT NULL
);

INSERT INTO deal_position (id, pos) VALUES (1, 0);

CREATE TABLE deal (
    id            {{identity}},
    deal_uuid     TEXT      NOT NULL UNIQUE,
    project_id    BIGINT    NOT NULL,
    policy_id     BIGINT    NOT NULL REFERENCES deal_policy (id),
    piece_id      BIGINT    NOT NULL REFERENCES deal_piece (id),
    piece_cid     TEXT      NOT NULL,
    provider      TEXT      NOT NULL,
    market        TEXT      NOT NULL,
    client        TEXT      NOT NULL,
    state         TEXT      NOT NULL CHECK (state IN ('draft', 'sending', 'proposed', 'transferring', 'published', 'active',
                      'slashed', 'terminated', 'expired', 'rejected', 'proposal_expired', 'failed')),
    reason        TEXT      NOT NULL DEFAULT '',
    proposal_cid  TEXT      NOT NULL DEFAULT '',
    publish_cid   TEXT      NOT NULL DEFAULT '',
    chain_id      BIGINT    NOT NULL DEFAULT 0,
    on_chain      BOOLEAN   NOT NULL DEFAULT FALSE,
    start_epoch   BIGINT    NOT NULL DEFAULT 0,
    end_epoch     BIGINT    NOT NULL DEFAULT 0,
    price         TEXT      NOT NULL DEFAULT '0',
    cost          TEXT      NOT NULL DEFAULT '0',
    request       BYTEA,
    progress      TEXT      NOT NULL DEFAULT '',
    progress_at   TIMESTAMP NOT NULL,
    lost_epoch    BIGINT    NOT NULL DEFAULT 0,
    next_check_at TIMESTAMP,
    created_at    TIMESTAMP NOT NULL,
    updated_at    TIMESTAMP NOT NULL
);

-- A provider has one live deal about a piece, whoever makes it.
CREATE UNIQUE INDEX deal_live ON deal (piece_id, provider)
    WHERE state IN ('draft', 'sending', 'proposed', 'transferring', 'published', 'active');
CREATE INDEX deal_due ON deal (next_check_at) WHERE next_check_at IS NOT NULL;
CREATE INDEX deal_project ON deal (project_id, id);
CREATE INDEX deal_project_state ON deal (project_id, state, id);
CREATE INDEX deal_of_policy ON deal (policy_id, state);
CREATE INDEX deal_of_piece ON deal (piece_id, id);
CREATE INDEX deal_proposal ON deal (proposal_cid) WHERE proposal_cid <> '';
CREATE INDEX deal_chain ON deal (chain_id) WHERE on_chain;
CREATE INDEX deal_bound ON deal (client) WHERE state IN ('sending', 'proposed', 'transferring');

CREATE TABLE deal_observation (
    id         {{identity}},
    deal_id    BIGINT    NOT NULL REFERENCES deal (id),
    at         TIMESTAMP NOT NULL,
    source     TEXT      NOT NULL CHECK (source IN ('us', 'provider', 'chain', 'clock')),
    from_state TEXT      NOT NULL,
    to_state   TEXT      NOT NULL,
    reason     TEXT      NOT NULL DEFAULT '',
    evidence   TEXT      NOT NULL DEFAULT ''
);

CREATE INDEX deal_observation_of ON deal_observation (deal_id, id);

-- What went wrong with a provider about a piece, and when it may be asked again.
CREATE TABLE deal_attempt (
    piece_id        BIGINT    NOT NULL,
    provider        TEXT      NOT NULL,
    failures        BIGINT    NOT NULL,
    next_attempt_at TIMESTAMP NOT NULL,
    reason          TEXT      NOT NULL,
    PRIMARY KEY (piece_id, provider)
);

-- +goose Down
DROP TABLE deal_attempt;
DROP TABLE deal_observation;
DROP TABLE deal;
DROP TABLE deal_position;
DROP TABLE deal_target;
DROP TABLE deal_piece;
DROP TABLE deal_policy;
