-- +goose Up
-- The kind of fault behind the reason, as a command exits with it.
ALTER TABLE dataset_preparation ADD COLUMN fault TEXT NOT NULL DEFAULT '';
ALTER TABLE dataset_chunk ADD COLUMN fault TEXT NOT NULL DEFAULT '';
