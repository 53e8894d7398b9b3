-- For a user's transaction, where the answer of add.sql is not read: a follower of a job that was not added because of its key follows
-- the job that has the key. That one is locked by this very statement: found by the next one, it could have ended before the commit.
UPDATE afterword.jobs AS job SET after = holder.id
FROM unnest(CAST(:ids AS uuid[]), CAST(:after_keys AS text[])) AS new (id, after_key)
CROSS JOIN LATERAL (
    SELECT other.id FROM afterword.jobs AS other WHERE other.unique_key = new.after_key AND other.id <> new.id FOR KEY SHARE
) AS holder
WHERE job.id = new.id AND job.after IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM afterword.jobs AS predecessor WHERE predecessor.id = job.after)
RETURNING job.id
