-- Where nobody can ask what add.sql has added: who follows a job that was not added because of its key follows the one that has it.
-- That one is held in the same statement: looked up in the next, it could be another one, which ends before this is committed.
UPDATE afterword.jobs AS job SET after = holder.id
FROM unnest(CAST(:ids AS uuid[]), CAST(:after_keys AS text[])) AS new (id, after_key)
CROSS JOIN LATERAL (
    SELECT other.id FROM afterword.jobs AS other WHERE other.unique_key = new.after_key AND other.id <> new.id FOR KEY SHARE
) AS holder
WHERE job.id = new.id AND job.after IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM afterword.jobs AS predecessor WHERE predecessor.id = job.after)
RETURNING job.id
