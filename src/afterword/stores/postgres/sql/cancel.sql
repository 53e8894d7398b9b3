WITH ended AS (DELETE FROM afterword.jobs WHERE id = ANY (CAST(:ids AS uuid[])) AND state = 'queued' RETURNING *)
INSERT INTO afterword.history (
    id, task, arguments, queue, priority, state, run_at, attempt, lost, interrupted, worker, after, on_failure, request_id, error,
    created_at, started_at, finished_at
)
SELECT
    id, task, arguments, queue, priority, 'cancelled', run_at, attempt, lost, interrupted, worker, after, on_failure, request_id, :reason,
    created_at, NULL, now()
FROM ended
RETURNING CAST(id AS text)
