-- An attempt no longer refers to its delivery: PostgreSQL looked the delivery up for each attempt that was recorded,
-- nearly a third of its work at full load. Who deletes deliveries deletes their attempts before. A new table, since
-- SQLite takes no reference away from one that there is.
CREATE TABLE attempts_alone (
    delivery_id   TEXT   NOT NULL,
    number        BIGINT NOT NULL,
    started_at    BIGINT NOT NULL,
    took_micros   BIGINT NOT NULL,
    status        BIGINT,
    error         TEXT,
    answer        {bytes} NOT NULL,
    retry_after   BIGINT,
    was_sent      BIGINT,
    phases        TEXT,
    request       TEXT,
    PRIMARY KEY (delivery_id, number)
);

INSERT INTO attempts_alone (delivery_id, number, started_at, took_micros, status, error, answer, retry_after, was_sent, phases, request)
    SELECT delivery_id, number, started_at, took_micros, status, error, answer, retry_after, was_sent, phases, request
    FROM delivery_attempts;

DROP TABLE delivery_attempts;
ALTER TABLE attempts_alone RENAME TO delivery_attempts;
