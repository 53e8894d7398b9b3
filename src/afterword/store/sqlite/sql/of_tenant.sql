-- Those of these jobs that a tenant may change: they have the tenant's tag, and so have all that follow them, directly or not. With
-- :stopped, also those that were cancelled because of them, which come back with them.
WITH RECURSIVE reached (root, id) AS (
    SELECT value, value FROM json_each(:ids)
    UNION -- not ALL: rows edited into a circle must not keep it going
    SELECT reached.root, job.id FROM afterword_jobs AS job JOIN reached ON job.after = reached.id
    UNION
    SELECT reached.root, job.id FROM afterword_history AS job JOIN reached ON job.after = reached.id
    WHERE job.state = 'cancelled' AND job.after IS NOT NULL AND job.error = :stopped
),
known (root, tags) AS (
    SELECT root, coalesce(
        (SELECT tags FROM afterword_jobs AS job WHERE job.id = reached.id), (SELECT tags FROM afterword_history AS job WHERE job.id = reached.id)
    )
    FROM reached
)
SELECT root FROM known GROUP BY root HAVING min(EXISTS (SELECT 1 FROM json_each(tags) WHERE value = :tenant))
