-- When a running job was claimed; NULL: it is held by the process that has added it, and was claimed with that.
ALTER TABLE afterword_jobs ADD COLUMN claimed_at REAL;
-- Empty nearly always: who looks for jobs that no worker could run reads nothing.
CREATE INDEX afterword_jobs_parked ON afterword_jobs (id) WHERE parked_at IS NOT NULL;
