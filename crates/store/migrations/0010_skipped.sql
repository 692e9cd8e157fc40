-- Deliveries that a replay of many has found under way, and left to that.
ALTER TABLE replays ADD COLUMN skipped BIGINT NOT NULL DEFAULT 0;
UPDATE replays SET skipped = total - replayed WHERE finished_at IS NOT NULL;
