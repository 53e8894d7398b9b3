-- Everything that waits, directly or not, for the job that did not complete, and is to stop with it.
WITH RECURSIVE stopped (id) AS (
    SELECT :id
    UNION -- not ALL: rows edited into a circle must not keep it going
    SELECT job.id FROM afterword_jobs AS job JOIN stopped ON job.after = stopped.id WHERE job.on_failure = 'stop'
)
INSERT INTO afterword_history (
    id, task, arguments, queue, priority, state, run_at, attempt, lost, interrupted, worker, after, on_failure,
    request_id, error, tags, unique_key, limit_key, options, failures, progress, result,
    created_at, started_at, finished_at
)
SELECT
    id, task, arguments, queue, priority, 'cancelled', run_at, attempt, lost, interrupted, worker, after, on_failure,
    request_id, :stopped, tags, unique_key, limit_key, options, failures, progress, NULL,
    created_at, NULL, :now
FROM afterword_jobs WHERE id IN (SELECT id FROM stopped WHERE id <> :id)
