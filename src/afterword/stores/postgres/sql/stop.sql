-- Everything that waits, directly or not, for these failed jobs and is to stop with them.
WITH RECURSIVE stopped (id) AS (
    SELECT id FROM afterword.jobs WHERE after = ANY (CAST(:ids AS uuid[])) AND on_failure = 'stop'
    UNION
    SELECT job.id FROM afterword.jobs AS job JOIN stopped ON job.after = stopped.id WHERE job.on_failure = 'stop'
),
ended AS (DELETE FROM afterword.jobs WHERE id IN (SELECT id FROM stopped) RETURNING *)
INSERT INTO afterword.history (
    id, task, arguments, queue, priority, state, run_at, attempt, lost, interrupted, worker, after, on_failure, request_id, error,
    tags, unique_key, limit_key, options, failures, progress, created_at, started_at, finished_at
)
SELECT
    id, task, arguments, queue, priority, 'cancelled', run_at, attempt, lost, interrupted, worker, after, on_failure, request_id, :reason,
    tags, unique_key, limit_key, options, failures, progress, created_at, NULL, now()
FROM ended
RETURNING CAST(id AS text)
