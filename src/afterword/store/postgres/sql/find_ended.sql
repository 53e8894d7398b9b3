SELECT
    CAST(id AS text), task, CAST(arguments AS text), queue, priority, state, attempt, lost, interrupted, worker, CAST(after AS text),
    on_failure, request_id, error, tags, unique_key, limit_key, CAST(options AS text), failures, progress, NULL, result,
    CAST(extract(epoch FROM created_at) AS double precision), CAST(extract(epoch FROM run_at) AS double precision),
    CAST(extract(epoch FROM started_at) AS double precision), CAST(extract(epoch FROM finished_at) AS double precision)
FROM afterword.history AS job WHERE --where
ORDER BY job.id DESC LIMIT :limit
