-- +goose Up
-- Where the CAR stands outside the blob store, and when it was last changed, in
-- nanoseconds; '' where it does not.
ALTER TABLE piece ADD COLUMN car TEXT NOT NULL DEFAULT '';
ALTER TABLE piece ADD COLUMN car_mtime BIGINT NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE piece DROP COLUMN car_mtime;
ALTER TABLE piece DROP COLUMN car;
