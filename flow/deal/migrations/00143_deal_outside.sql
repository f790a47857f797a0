-- +goose Up
-- Where the pieces of a policy are fetched instead of from this node, and what
-- is sent along there: the names for people, the values sealed.
ALTER TABLE deal_policy ADD COLUMN url_template TEXT NOT NULL DEFAULT '';
ALTER TABLE deal_policy ADD COLUMN header_names TEXT NOT NULL DEFAULT '[]';
ALTER TABLE deal_policy ADD COLUMN headers BYTEA;

-- Where the provider was told to fetch, and whether that is somebody else's
-- server. A request holds what opens that place, so it is sealed from now on.
ALTER TABLE deal ADD COLUMN fetch_url TEXT NOT NULL DEFAULT '';
ALTER TABLE deal ADD COLUMN outside BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE deal ADD COLUMN request_sealed BOOLEAN NOT NULL DEFAULT FALSE;

-- From where the piece could not be had, if that is what went wrong.
ALTER TABLE deal_attempt ADD COLUMN fetch_url TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE deal_attempt DROP COLUMN fetch_url;
ALTER TABLE deal DROP COLUMN request_sealed;
ALTER TABLE deal DROP COLUMN outside;
ALTER TABLE deal DROP COLUMN fetch_url;
ALTER TABLE deal_policy DROP COLUMN headers;
ALTER TABLE deal_policy DROP COLUMN header_names;
ALTER TABLE deal_policy DROP COLUMN url_template;
