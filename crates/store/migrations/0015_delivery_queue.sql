-- Where a pending delivery is, apart from its wide row and that one's indexes: in `delivery_queue` while it waits, in
-- `delivery_leases` while an attempt is under way. Neither refers to the delivery, which would be looked up each time that
-- it goes from one to the other; who deletes deliveries deletes their places before.
CREATE TABLE delivery_queue (
    delivery_id   TEXT   PRIMARY KEY,
    endpoint_id   TEXT   NOT NULL,
    -- first: no attempt of it has ended; later: one has, or it is a replay; live: an event of a running job.
    stage         TEXT   NOT NULL,
    next_at       BIGINT NOT NULL,
    -- Of the next attempt.
    number        BIGINT NOT NULL,
    -- Attempts that failed since it was made or last asked for again.
    failures      BIGINT NOT NULL,
    is_replay     BIGINT NOT NULL
) {without_rowid};

CREATE TABLE leases_with_places (
    delivery_id   TEXT   PRIMARY KEY,
    -- As they were in the queue; the number is the attempt's under way, and its fence.
    endpoint_id   TEXT   NOT NULL,
    stage         TEXT   NOT NULL,
    next_at       BIGINT NOT NULL,
    number        BIGINT NOT NULL,
    failures      BIGINT NOT NULL,
    is_replay     BIGINT NOT NULL,
    holder        TEXT   NOT NULL,
    until         BIGINT NOT NULL,
    claimed_at    BIGINT NOT NULL
) {without_rowid};

INSERT INTO leases_with_places
    (delivery_id, endpoint_id, stage, next_at, number, failures, is_replay, holder, until, claimed_at)
    SELECT d.id, d.endpoint_id, CASE d.is_first WHEN 1 THEN 'first' WHEN 2 THEN 'live' ELSE 'later' END, d.next_at,
        l.number, d.failures, d.is_replay, l.holder, l.until, l.claimed_at
    FROM delivery_leases l JOIN deliveries d ON d.id = l.delivery_id;

INSERT INTO delivery_queue (delivery_id, endpoint_id, stage, next_at, number, failures, is_replay)
    SELECT d.id, d.endpoint_id, CASE d.is_first WHEN 1 THEN 'first' WHEN 2 THEN 'live' ELSE 'later' END, d.next_at,
        d.attempts + 1, d.failures, d.is_replay
    FROM deliveries d
    WHERE d.state = 'pending' AND NOT EXISTS (SELECT 1 FROM delivery_leases l WHERE l.delivery_id = d.id);

DROP TABLE delivery_leases;
ALTER TABLE leases_with_places RENAME TO delivery_leases;
CREATE INDEX delivery_leases_ending ON delivery_leases (until);
CREATE INDEX delivery_queue_in_line ON delivery_queue (endpoint_id, stage, next_at);

DROP INDEX deliveries_waiting;
ALTER TABLE deliveries DROP COLUMN next_at;
ALTER TABLE deliveries DROP COLUMN is_first;
ALTER TABLE deliveries DROP COLUMN failures;

-- PostgreSQL writes a changed row anew. Beside the old one, if there is room, it needs no new entry in any index, which
-- was half of its work at full load.
{only_postgres} ALTER TABLE deliveries SET (fillfactor = 50);
