-- A job that has ended, and those that were cancelled with it, directly or not, which wait for it again.
WITH RECURSIVE again (id) AS (
    SELECT :id
    UNION -- not ALL: rows edited into a circle must not keep it going
    SELECT job.id FROM afterword_history AS job JOIN again ON job.after = again.id
    WHERE job.state = 'cancelled' AND job.after IS NOT NULL AND job.error = :stopped
)
INSERT INTO afterword_jobs (
    id, task, arguments, queue, priority, state, run_at, attempt, interrupted, after, on_failure, request_id, tags, unique_key, limit_key, options, created_at
)
SELECT
    id, task, arguments, queue, priority, 'queued', iif(id = :id, :now, max(run_at, :now)), attempt, interrupted,
    iif(id = :id, (SELECT before.id FROM afterword_jobs AS before WHERE before.id = job.after), after),
    on_failure, request_id, tags,
    -- A later job may have the key by now; this one goes on without it.
    iif(
        row_number() OVER (PARTITION BY unique_key ORDER BY id) > 1
        OR EXISTS (SELECT 1 FROM afterword_jobs AS other WHERE other.unique_key = job.unique_key AND other.cancelling IS NULL),
        NULL, unique_key
    ),
    limit_key, options, created_at
FROM afterword_history AS job WHERE id IN (SELECT id FROM again)
RETURNING id
