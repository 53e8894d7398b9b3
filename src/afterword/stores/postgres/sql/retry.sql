-- These ended jobs, and the followers that were cancelled because of them, behind them again.
WITH RECURSIVE again (id) AS (
    SELECT id FROM afterword.history WHERE id = ANY (CAST(:ids AS uuid[]))
    UNION
    SELECT follower.id FROM afterword.history AS follower JOIN again ON follower.after = again.id
    WHERE follower.state = 'cancelled' AND follower.after IS NOT NULL AND follower.error = :stopped
),
ended AS (DELETE FROM afterword.history WHERE id IN (SELECT id FROM again) RETURNING *)
INSERT INTO afterword.jobs (
    id, task, arguments, queue, priority, state, run_at, attempt, lost, interrupted, worker, after, on_failure, request_id, error, created_at
)
SELECT
    id, task, arguments, queue, priority, 'queued', now(), attempt, 0, interrupted, NULL, after, on_failure, request_id, NULL, created_at
FROM ended
RETURNING CAST(id AS text)
