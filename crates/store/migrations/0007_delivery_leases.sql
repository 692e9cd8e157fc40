-- What changes when an attempt begins, apart from the delivery's wide row and its indexes. A row is there exactly while
-- an attempt is under way. It does not refer to its delivery, because that would be looked up at every claim; what a
-- deleted delivery leaves here goes when the lease runs out.
CREATE TABLE delivery_leases (
    delivery_id   TEXT   PRIMARY KEY,
    -- Of the attempt under way: its fence.
    number        BIGINT NOT NULL,
    holder        TEXT   NOT NULL,
    until         BIGINT NOT NULL,
    claimed_at    BIGINT NOT NULL
);

INSERT INTO delivery_leases SELECT id, attempts + 1, holder, until, claimed_at FROM deliveries WHERE until IS NOT NULL;

CREATE INDEX delivery_leases_ending ON delivery_leases (until);

DROP INDEX deliveries_leased;
DROP INDEX deliveries_waiting;
ALTER TABLE deliveries DROP COLUMN holder;
ALTER TABLE deliveries DROP COLUMN until;
ALTER TABLE deliveries DROP COLUMN claimed_at;
-- With what is under way.
CREATE INDEX deliveries_waiting ON deliveries (endpoint_id, is_first, next_at) WHERE state = 'pending';
