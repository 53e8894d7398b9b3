-- Let jobs wait for :afters (NULL: for the job they follow already), if that job is there, and else for :otherwise. Executed behind
-- hold_predecessors.sql: none of these can end before this is committed.
WITH place AS (
    SELECT job.id, coalesce(
        (SELECT id FROM afterword.jobs AS predecessor WHERE predecessor.id = coalesce(new.after, job.after)),
        (SELECT id FROM afterword.jobs AS predecessor WHERE predecessor.id = new.otherwise)
    ) AS after
    FROM unnest(CAST(:ids AS uuid[]), CAST(:afters AS uuid[]), CAST(:otherwise AS uuid[])) AS new (id, after, otherwise)
    JOIN afterword.jobs AS job ON job.id = new.id AND job.after IS NOT NULL
)
UPDATE afterword.jobs AS job SET after = place.after
FROM place
WHERE job.id = place.id AND job.after IS DISTINCT FROM place.after
RETURNING job.id
