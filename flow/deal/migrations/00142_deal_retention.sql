-- +goose Up
-- After how many active deals the CAR that this node has written of a piece is
-- deleted; 0 is never.
ALTER TABLE deal_policy ADD COLUMN delete_car_after BIGINT NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE deal_policy DROP COLUMN delete_car_after;
