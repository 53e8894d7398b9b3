SELECT
    id, task, CAST(arguments AS BLOB), queue, priority, state, attempt, lost, interrupted, worker, after, on_failure, request_id,
    error, tags, unique_key, limit_key, options, failures, progress, cancelling, NULL AS result, created_at, run_at, NULL AS started_at, NULL AS finished_at
FROM afterword_jobs WHERE id IN (SELECT value FROM json_each(:ids))
UNION ALL
SELECT
    id, task, CAST(arguments AS BLOB), queue, priority, state, attempt, lost, interrupted, worker, after, on_failure, request_id,
    error, tags, unique_key, limit_key, options, failures, progress, NULL AS cancelling, result, created_at, run_at, started_at, finished_at
FROM afterword_history WHERE id IN (SELECT value FROM json_each(:ids))
