-- Events of running jobs (`job.started`, `job.progress`) have no number: their `sequence` is below 0, and means nothing
-- but that. Their deliveries wait with `is_first` 2, in a line of their own beside first attempts (1) and later ones (0).

-- 1 while such deliveries may be waiting: whoever never asked for them pays nothing for looking.
ALTER TABLE endpoints ADD COLUMN has_live BIGINT NOT NULL DEFAULT 0;
