SELECT * FROM (
    SELECT
        id, task, CAST(arguments AS BLOB), queue, priority, state, attempt, lost, interrupted, worker, after, on_failure,
        request_id,
    error, tags, unique_key, limit_key, options, failures, progress, cancelling, NULL AS result, created_at, run_at, NULL AS started_at, NULL AS finished_at
    FROM afterword_jobs WHERE id < :before AND /* wanted */ ORDER BY id DESC LIMIT :limit
)
