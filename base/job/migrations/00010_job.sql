-- +goose Up
CREATE TABLE job_schedule (
    name TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    args TEXT NOT NULL,
    every_us BIGINT NOT NULL CHECK (every_us > 0),
    next_at TIMESTAMP NOT NULL
);

-- A row is a process that works jobs and was alive at seen_at. Used on
-- PostgreSQL only: SQLite belongs to one process.
CREATE TABLE job_worker (
    id TEXT PRIMARY KEY,
    seen_at TIMESTAMP NOT NULL
);

-- +goose Down
DROP TABLE job_worker;
DROP TABLE job_schedule;
