-- Queue a job that has ended again, and behind it those that were cancelled with it, directly or not.
WITH RECURSIVE again (id) AS (
    SELECT :id
    UNION -- not ALL: rows edited into a circle must not keep it going
    SELECT job.id FROM afterword_history AS job JOIN again ON job.after = again.id
    WHERE job.state = 'cancelled' AND job.after IS NOT NULL AND job.error = :stopped
)
INSERT INTO afterword_jobs ({said}, state, attempt, interrupted, created_at, run_at, after, unique_key)
SELECT
    {said}, 'queued', attempt, interrupted, created_at, iif(id = :id, :now, max(run_at, :now)),
    iif(id = :id, (SELECT before.id FROM afterword_jobs AS before WHERE before.id = job.after), after),
    -- A later job may have the key by now; this one goes on without it.
    iif(
        row_number() OVER (PARTITION BY unique_key ORDER BY id) > 1
        OR EXISTS (SELECT 1 FROM afterword_jobs AS other WHERE other.unique_key = job.unique_key AND other.cancelling IS NULL),
        NULL, unique_key
    )
FROM afterword_history AS job WHERE id IN (SELECT id FROM again)
RETURNING id
