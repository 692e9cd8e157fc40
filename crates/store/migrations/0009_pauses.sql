-- How often in a row an endpoint's circuit has opened: the pause doubles with each probe that fails, not with each
-- attempt that was under way.
ALTER TABLE endpoints ADD COLUMN pauses BIGINT NOT NULL DEFAULT 0;
