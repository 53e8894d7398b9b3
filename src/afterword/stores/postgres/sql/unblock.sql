-- A predecessor that has ended is not waited for. One that was not added because of its key: what has the key is waited for.
UPDATE afterword.jobs AS job
SET after = (
    SELECT id FROM afterword.jobs AS other
    WHERE other.unique_key = new.after_key AND other.id <> job.id
    ORDER BY other.cancelling IS NOT NULL LIMIT 1
)
FROM unnest(CAST(:ids AS uuid[]), CAST(:after_keys AS text[])) AS new (id, after_key)
WHERE job.id = new.id AND job.after IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM afterword.jobs AS predecessor WHERE predecessor.id = job.after)
RETURNING job.id
