-- One row a key: the last turn of its replays among all turns, so that they go round the keys, whatever each asks for.
CREATE TABLE replay_turns (
    key_id        TEXT   PRIMARY KEY REFERENCES keys (id) ON DELETE CASCADE,
    turn          BIGINT NOT NULL
);

-- The replay's own last turn, so that those of a key go round as well. `total` is below 0 before the first, in which it is
-- counted.
ALTER TABLE replays ADD COLUMN turn BIGINT NOT NULL DEFAULT 0;
DROP INDEX replays_unfinished;
CREATE INDEX replays_unfinished ON replays (key_id) WHERE finished_at IS NULL;
