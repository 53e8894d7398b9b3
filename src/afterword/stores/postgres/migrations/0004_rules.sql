-- The key of a running job that has been asked to end is free for the next one, which waits until it has: NULLs are not equal.
DROP INDEX afterword.jobs_unique;
CREATE UNIQUE INDEX jobs_unique ON afterword.jobs (unique_key, (CASE WHEN cancelling IS NULL THEN 1 END)) WHERE unique_key IS NOT NULL;
