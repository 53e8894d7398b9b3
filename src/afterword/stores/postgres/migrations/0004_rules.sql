-- The key of a running job that has been asked to end is free for the next one, which waits until it has: NULLs are not equal.
DROP INDEX afterword.jobs_unique;
CREATE UNIQUE INDEX jobs_unique ON afterword.jobs (unique_key, (CASE WHEN cancelling IS NULL THEN 1 END)) WHERE unique_key IS NOT NULL;

-- How often a rule of a queue has been changed, and which of these changes a worker has taken note of; NULL: it starts nothing, or
-- is of a release that does not say.
ALTER TABLE afterword.store ADD COLUMN rules integer NOT NULL DEFAULT 0;
ALTER TABLE afterword.workers ADD COLUMN rules integer;
