-- The key of a running job that has been asked to end is free for the next one, which waits until it has: NULLs are not equal.
DROP INDEX afterword.jobs_unique;
CREATE UNIQUE INDEX jobs_unique ON afterword.jobs (unique_key, (CASE WHEN cancelling IS NULL THEN 1 END)) WHERE unique_key IS NOT NULL;

-- How often a rule of a queue has been changed, and which of these changes a worker has taken note of; NULL: it starts nothing, or
-- is of a release that does not say.
ALTER TABLE afterword.store ADD COLUMN rules integer NOT NULL DEFAULT 0;
ALTER TABLE afterword.workers ADD COLUMN rules integer;

-- The next occurrence of a schedule that has no job yet, for each rule: during a deploy two releases may have two. What the table
-- `schedules` says of it is for people, and for releases that do not know this one.
CREATE TABLE afterword.cursors (
    name    text        NOT NULL,
    rule    text        NOT NULL,
    next_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    PRIMARY KEY (name, rule)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);

-- The slots of jobs that were cancelled or deleted before they came, for those that come next; and who still has one.
ALTER TABLE afterword.rates ADD COLUMN freed double precision[] NOT NULL DEFAULT '{}';
CREATE INDEX jobs_slots ON afterword.jobs (limit_key, slot_at) WHERE state = 'queued' AND slot_at IS NOT NULL;
