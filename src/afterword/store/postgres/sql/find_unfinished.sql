SELECT
    CAST(id AS text), task, CAST(arguments AS text), queue, priority, state, attempt, lost, interrupted, worker, CAST(after AS text),
    on_failure, request_id, error, tags, unique_key, limit_key, CAST(options AS text), failures, progress, cancelling, NULL,
    CAST(extract(epoch FROM created_at) AS double precision), CAST(extract(epoch FROM run_at) AS double precision), NULL, NULL
FROM afterword.jobs AS job WHERE --where
ORDER BY job.id DESC LIMIT :limit
