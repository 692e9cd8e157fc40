-- Times are milliseconds since the epoch, durations milliseconds. What only this service reads, and always as a
-- whole, is JSON in a text column. Words (`state`, `kind`, …) are those of the API.

CREATE TABLE keys (
    id            TEXT   PRIMARY KEY,
    name          TEXT   NOT NULL,
    scopes        TEXT   NOT NULL,
    -- SHA-256. No salt and no stretching: an API key is 256 random bits, not a password.
    api_key_hash  {bytes} NOT NULL UNIQUE,
    created_at    BIGINT NOT NULL,
    revoked_at    BIGINT
);

CREATE TABLE signing_secrets (
    key_id        TEXT   NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    -- 1, 2, 3, …: the newest has the highest.
    number        BIGINT NOT NULL,
    sealed        {bytes} NOT NULL,
    PRIMARY KEY (key_id, number)
);

-- One row a key. The finishing transaction locks it until it commits, and that is what makes a key's events
-- gapless and visible in their order.
CREATE TABLE event_counters (
    key_id        TEXT   PRIMARY KEY REFERENCES keys (id) ON DELETE CASCADE,
    last_sequence BIGINT NOT NULL
);

-- One row a key: its last turn among all turns. Decides between keys that have the same number of running jobs,
-- so that a single slot goes round.
CREATE TABLE queue_turns (
    key_id        TEXT   PRIMARY KEY REFERENCES keys (id) ON DELETE CASCADE,
    turn          BIGINT NOT NULL
);

CREATE TABLE jobs (
    id            TEXT   PRIMARY KEY,
    key_id        TEXT   NOT NULL REFERENCES keys (id),
    batch_id      TEXT,
    -- Place within what was submitted together.
    position      BIGINT NOT NULL,
    spec          TEXT   NOT NULL,
    -- 0 low, 1 normal, 2 high.
    priority      BIGINT NOT NULL,
    created_at    BIGINT NOT NULL,
    -- queued, processing, completed or failed. A row in job_leases exists exactly while it is processing.
    state         TEXT   NOT NULL,
    -- Not claimed before.
    not_before    BIGINT NOT NULL,
    -- Raised at each claim, never falls: only the newest may change the job.
    fence         BIGINT NOT NULL,
    -- Claims that count against the bound: a graceful hand-back gives one back.
    attempts      BIGINT NOT NULL,
    -- What a customer saw before the present lease; the lease has its own.
    percent       BIGINT NOT NULL,
    input         TEXT,
    -- The result or the failure.
    outcome       TEXT,
    finished_at   BIGINT,
    -- When the files may go. Only ever moves later.
    expires_at    BIGINT,
    -- 1 once the files are gone.
    swept         BIGINT NOT NULL
);

-- Each index covers the rows that its loop looks for and no others, so that a long history costs nothing.
CREATE INDEX jobs_queued ON jobs (key_id, priority DESC, created_at, position, id) WHERE state = 'queued';
CREATE INDEX jobs_to_sweep ON jobs (expires_at) WHERE expires_at IS NOT NULL AND swept = 0;
CREATE INDEX jobs_to_trim ON jobs (finished_at) WHERE swept = 1;
CREATE INDEX jobs_of_batch ON jobs (batch_id) WHERE batch_id IS NOT NULL;

-- What changes while a job runs, apart from its wide row: a heartbeat rewrites this one alone.
CREATE TABLE job_leases (
    job_id        TEXT   PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    key_id        TEXT   NOT NULL,
    fence         BIGINT NOT NULL,
    holder        TEXT   NOT NULL,
    -- By the database's clock, as all leases.
    until         BIGINT NOT NULL,
    started_at    BIGINT NOT NULL,
    step          TEXT   NOT NULL,
    percent       BIGINT NOT NULL,
    remaining     BIGINT
);

CREATE TABLE idempotency (
    key_id        TEXT   NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    token         TEXT   NOT NULL,
    digest        {bytes} NOT NULL,
    answer        {bytes} NOT NULL,
    keep_until    BIGINT NOT NULL,
    PRIMARY KEY (key_id, token)
);

CREATE INDEX idempotency_to_trim ON idempotency (keep_until);

CREATE TABLE events (
    id            TEXT   PRIMARY KEY,
    key_id        TEXT   NOT NULL REFERENCES keys (id),
    sequence      BIGINT NOT NULL,
    job_id        TEXT   NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    kind          TEXT   NOT NULL,
    body          {bytes} NOT NULL,
    created_at    BIGINT NOT NULL,
    UNIQUE (key_id, sequence)
);

CREATE INDEX events_of_job ON events (job_id);
-- A job ends once.
CREATE UNIQUE INDEX events_final ON events (job_id) WHERE kind IN ('job.completed', 'job.failed');

CREATE TABLE deliveries (
    id            TEXT   PRIMARY KEY,
    key_id        TEXT   NOT NULL,
    event_id      TEXT   NOT NULL REFERENCES events (id) ON DELETE CASCADE,
    job_id        TEXT   NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    -- host:port.
    receiver      TEXT   NOT NULL,
    url           TEXT   NOT NULL,
    -- pending, delivered or exhausted.
    state         TEXT   NOT NULL,
    next_at       BIGINT NOT NULL,
    -- Attempts that have ended; the one under way is one more, and that number is its fence.
    attempts      BIGINT NOT NULL,
    created_at    BIGINT NOT NULL,
    -- The three below are set while an attempt is under way.
    holder        TEXT,
    until         BIGINT,
    claimed_at    BIGINT
);

CREATE INDEX deliveries_due ON deliveries (next_at) WHERE state = 'pending' AND until IS NULL;
CREATE INDEX deliveries_leased ON deliveries (until) WHERE until IS NOT NULL;
CREATE INDEX deliveries_of_job ON deliveries (job_id);
CREATE INDEX deliveries_of_event ON deliveries (event_id);

CREATE TABLE delivery_attempts (
    delivery_id   TEXT   NOT NULL REFERENCES deliveries (id) ON DELETE CASCADE,
    number        BIGINT NOT NULL,
    started_at    BIGINT NOT NULL,
    took_micros   BIGINT NOT NULL,
    status        BIGINT,
    error         TEXT,
    answer        {bytes} NOT NULL,
    retry_after   BIGINT,
    PRIMARY KEY (delivery_id, number)
);
