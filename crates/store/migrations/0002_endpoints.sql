-- One exact URL of one key: what circuit, disabling and 410 belong to. The row is also where a claim looks for work,
-- so that 100,000 deliveries that wait for one dead URL are one row to everybody else.
CREATE TABLE endpoints (
    -- `ep_` and the start of SHA-256 over key and URL: known without asking.
    id              TEXT   PRIMARY KEY,
    key_id          TEXT   NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    -- host:port.
    receiver        TEXT   NOT NULL,
    url             TEXT   NOT NULL,
    -- healthy, failing (the circuit is open) or disabled.
    state           TEXT   NOT NULL,
    changed_at      BIGINT NOT NULL,
    -- Since the last success.
    failures        BIGINT NOT NULL,
    first_failed_at BIGINT,
    -- While it is failing: nothing is sent before, and then one probe.
    retry_at        BIGINT,
    -- 1 while that probe is under way.
    is_probing      BIGINT NOT NULL,
    reason          TEXT,
    -- When the next of its deliveries may be claimed; none while there is none, its probe is under way, or it is
    -- disabled. It may be earlier than the truth, never later: whoever claims and finds nothing mends it.
    due_at          BIGINT
);

CREATE INDEX endpoints_due ON endpoints (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX endpoints_of_key ON endpoints (key_id);

-- Never none: what there was before gets its endpoint in the same transaction as this.
ALTER TABLE deliveries ADD COLUMN endpoint_id TEXT REFERENCES endpoints (id);
-- 1 until the first attempt has ended. A replay is no first attempt, so that many of them do not hold up what is new.
ALTER TABLE deliveries ADD COLUMN is_first BIGINT NOT NULL DEFAULT 1;
ALTER TABLE deliveries ADD COLUMN is_replay BIGINT NOT NULL DEFAULT 0;
-- Attempts that failed since it was made or last asked for again.
ALTER TABLE deliveries ADD COLUMN failures BIGINT NOT NULL DEFAULT 0;

UPDATE deliveries SET failures = attempts, is_first = CASE WHEN attempts > 0 THEN 0 ELSE 1 END;

DROP INDEX deliveries_due;
CREATE INDEX deliveries_waiting ON deliveries (endpoint_id, is_first, next_at) WHERE state = 'pending' AND until IS NULL;
CREATE INDEX deliveries_of_endpoint ON deliveries (endpoint_id);
CREATE INDEX deliveries_listed ON deliveries (key_id, created_at, id);

-- None in attempts from before these were kept.
ALTER TABLE delivery_attempts ADD COLUMN was_sent BIGINT;
-- JSON: microseconds of each phase, and the request's head.
ALTER TABLE delivery_attempts ADD COLUMN phases TEXT;
ALTER TABLE delivery_attempts ADD COLUMN request TEXT;

-- Until when a secret still signs beside the newer ones; none: until another follows it.
ALTER TABLE signing_secrets ADD COLUMN expires_at BIGINT;

CREATE TABLE private_keys (
    key_id        TEXT   NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    -- 1, 2, 3, …: the newest has the highest.
    number        BIGINT NOT NULL,
    sealed        {bytes} NOT NULL,
    PRIMARY KEY (key_id, number)
);

CREATE TABLE secret_headers (
    key_id        TEXT   PRIMARY KEY REFERENCES keys (id) ON DELETE CASCADE,
    name          TEXT   NOT NULL,
    sealed        {bytes} NOT NULL
);

-- What a customer asked to have sent again, page by page.
CREATE TABLE replays (
    id            TEXT   PRIMARY KEY,
    key_id        TEXT   NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    created_at    BIGINT NOT NULL,
    -- Which deliveries: of this state, made in this time.
    state         TEXT,
    after_at      BIGINT,
    before_at     BIGINT NOT NULL,
    total         BIGINT NOT NULL,
    -- How far it is: the last delivery looked at.
    seen_at       BIGINT NOT NULL,
    seen_id       TEXT   NOT NULL,
    replayed      BIGINT NOT NULL,
    finished_at   BIGINT
);

CREATE INDEX replays_unfinished ON replays (created_at) WHERE finished_at IS NULL;
