-- Files that customers send, to be named as the source of jobs.
CREATE TABLE uploads (
    id            TEXT   PRIMARY KEY,
    key_id        TEXT   NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    name          TEXT,
    -- The `Upload-Metadata` of tus, as it was given.
    metadata      TEXT,
    -- receiving, complete, gone (its files are being deleted) or swept (they are; that it was there is remembered).
    state         TEXT   NOT NULL,
    -- Bytes that it will have, once that is known, and bytes and parts that it has.
    length        BIGINT,
    received      BIGINT NOT NULL,
    parts         BIGINT NOT NULL,
    created_at    BIGINT NOT NULL,
    -- When the sweep looks at it next.
    expires_at    BIGINT NOT NULL,
    -- 1 once a job has named it: from then on it goes with its last job, and not by the time.
    is_used       BIGINT NOT NULL
);

CREATE INDEX uploads_held ON uploads (key_id) WHERE state IN ('receiving', 'complete');
CREATE INDEX uploads_due ON uploads (expires_at) WHERE is_used = 0;
CREATE INDEX uploads_used ON uploads (id) WHERE is_used = 1;

-- The bytes of an upload, in files of the store, without gaps.
CREATE TABLE upload_parts (
    upload_id     TEXT   NOT NULL REFERENCES uploads (id) ON DELETE CASCADE,
    first_byte    BIGINT NOT NULL,
    size          BIGINT NOT NULL,
    location      TEXT   NOT NULL,
    PRIMARY KEY (upload_id, first_byte)
);

-- The upload that is the job's source, if one is.
ALTER TABLE jobs ADD COLUMN upload_id TEXT;
CREATE INDEX jobs_waiting_for_upload ON jobs (upload_id) WHERE upload_id IS NOT NULL AND finished_at IS NULL;
