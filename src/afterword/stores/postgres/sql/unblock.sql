-- Jobs wait for what they are to follow (NULL: for what they follow already), if it is there. That is held, or had ended: behind
-- hold_predecessors.sql nothing of it can end any more before this is committed.
UPDATE afterword.jobs AS job
SET after = (SELECT id FROM afterword.jobs AS predecessor WHERE predecessor.id = coalesce(new.after, job.after))
FROM unnest(CAST(:ids AS uuid[]), CAST(:afters AS uuid[])) AS new (id, after)
WHERE job.id = new.id AND job.after IS NOT NULL
    AND job.after IS DISTINCT FROM (SELECT id FROM afterword.jobs AS predecessor WHERE predecessor.id = coalesce(new.after, job.after))
RETURNING job.id
