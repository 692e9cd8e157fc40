-- Which delivery is an endpoint's probe, while that is under way: only its own end lets another begin. Of a probe that is
-- under way now nobody knows which one it is, so that one more may be made.
ALTER TABLE endpoints ADD COLUMN probe_id TEXT;
ALTER TABLE endpoints DROP COLUMN is_probing;
