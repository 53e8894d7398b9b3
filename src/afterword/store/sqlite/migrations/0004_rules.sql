-- The key of a running job that has been asked to end is free for the next one, which waits until it has: NULLs are not equal.
DROP INDEX afterword_jobs_unique;
CREATE UNIQUE INDEX afterword_jobs_unique ON afterword_jobs (unique_key, CASE WHEN cancelling IS NULL THEN 1 END)
    WHERE unique_key IS NOT NULL;

-- How often a rule of a queue has been changed, and which of these changes a worker has taken note of; NULL: it starts nothing, or
-- is of a release that does not say.
ALTER TABLE afterword_store ADD COLUMN rules INTEGER NOT NULL DEFAULT 0;
ALTER TABLE afterword_workers ADD COLUMN rules INTEGER;

-- The next occurrence of a schedule that has no job yet, for each rule: during a deploy two releases may have two. What the table
-- `afterword_schedules` says of it is for people, and for releases that do not know this one.
CREATE TABLE afterword_cursors (
    name    TEXT NOT NULL,
    rule    TEXT NOT NULL,
    next_at REAL NOT NULL,
    seen_at REAL NOT NULL,
    PRIMARY KEY (name, rule)
) STRICT, WITHOUT ROWID;

-- The slots of jobs that were cancelled or deleted before they came, for those that come next; and who still has one.
ALTER TABLE afterword_rates ADD COLUMN freed TEXT NOT NULL DEFAULT '[]';
CREATE INDEX afterword_jobs_slots ON afterword_jobs (limit_key, slot_at) WHERE state = 'queued' AND slot_at IS NOT NULL;
