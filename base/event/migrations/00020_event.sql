-- +goose Up
-- Rows enter without a position, since ids are handed out before commit and
-- commits come in another order. One sequencer step gives it.
CREATE TABLE event_log (
    id {{identity}},
    pos BIGINT,
    at TIMESTAMP NOT NULL,
    kind TEXT NOT NULL,
    project BIGINT NOT NULL,
    subject TEXT NOT NULL,
    data TEXT NOT NULL
);
CREATE UNIQUE INDEX event_log_pos ON event_log (pos);
CREATE INDEX event_log_unsequenced ON event_log (id) WHERE pos IS NULL;

-- One row: the last position given. Updating it is the sequencer's lock.
CREATE TABLE event_head (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    pos BIGINT NOT NULL
);
INSERT INTO event_head (id, pos) VALUES (1, 0);

-- +goose Down
DROP TABLE event_head;
DROP TABLE event_log;
