-- A predecessor that has ended is not waited for. One that was not added because of its key: what it would have followed is
-- waited for, or else what has the key.
UPDATE afterword.jobs AS job
SET after = coalesce(
    (SELECT id FROM afterword.jobs AS other WHERE other.id = new.before),
    (SELECT id FROM afterword.jobs AS other WHERE other.unique_key = new.after_key AND other.id <> job.id)
)
FROM unnest(CAST(:ids AS uuid[]), CAST(:befores AS uuid[]), CAST(:after_keys AS text[])) AS new (id, before, after_key)
WHERE job.id = new.id AND job.after IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM afterword.jobs AS predecessor WHERE predecessor.id = job.after)
RETURNING job.id
