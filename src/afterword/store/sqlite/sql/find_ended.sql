SELECT * FROM (
    SELECT
        id, task, CAST(arguments AS BLOB), queue, priority, state, attempt, lost, interrupted, worker, after, on_failure,
        request_id,
    error, tags, unique_key, limit_key, options, failures, progress, NULL AS cancelling, result, created_at, run_at, started_at, finished_at
    FROM afterword_history WHERE id < :before AND /* wanted */ ORDER BY id DESC LIMIT :limit
)
