-- Body bytes and requests that reading a job's source took, all attempts together: in `jobs` up to the present lease,
-- in `job_leases` with what the present attempt has taken by now.
ALTER TABLE jobs ADD COLUMN fetched_bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN fetched_requests BIGINT NOT NULL DEFAULT 0;
ALTER TABLE job_leases ADD COLUMN fetched_bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE job_leases ADD COLUMN fetched_requests BIGINT NOT NULL DEFAULT 0;
