-- When a running job was claimed; NULL: it is held by the process that has added it, and was claimed with that.
ALTER TABLE afterword.jobs ADD COLUMN claimed_at timestamptz;
-- Empty nearly always: who looks for jobs that no worker could run reads nothing.
CREATE INDEX jobs_parked ON afterword.jobs (id) WHERE parked_at IS NOT NULL;
