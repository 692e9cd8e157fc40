-- When an endpoint was last found back, or enabled: what has piled up for it is sent a little at a time, by every node.
ALTER TABLE endpoints ADD COLUMN recovered_at BIGINT;
