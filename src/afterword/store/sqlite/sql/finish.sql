INSERT INTO afterword_history (
    id, task, arguments, queue, priority, state, run_at, attempt, lost, interrupted, worker, after, on_failure,
    request_id, error, tags, unique_key, limit_key, options, failures, progress, result,
    created_at, started_at, finished_at
)
SELECT
    id, task, arguments, queue, priority, :state, run_at, attempt, lost + :lost, interrupted, worker, after, on_failure,
    request_id, :error, tags, unique_key, limit_key, options, failures, progress, :result,
    created_at, :started_at, :now
FROM afterword_jobs
WHERE id = :id AND attempt = :attempt AND worker IS :worker AND fence IS :fence
RETURNING id, attempt, worker
