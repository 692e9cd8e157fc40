-- `swept` has a third value: 2, while a result's files are being deleted. They count as gone from its start.
DROP INDEX jobs_to_sweep;
CREATE INDEX jobs_to_sweep ON jobs (expires_at) WHERE expires_at IS NOT NULL AND swept <> 1;
