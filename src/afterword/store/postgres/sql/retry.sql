-- Back from the history; a job whose unique key another one has by now is left out, unless it can do without.
INSERT INTO afterword.jobs (
    id, task, arguments, queue, priority, state, run_at, attempt, interrupted, after, on_failure, request_id, tags, unique_key, limit_key,
    options, created_at
)
SELECT
    id, task, arguments, queue, priority, 'queued',
    CASE WHEN id = ANY (CAST(:wanted AS uuid[])) THEN now() ELSE greatest(run_at, now()) END,
    attempt, interrupted, after, on_failure, request_id, tags, CASE WHEN CAST(:keyed AS boolean) THEN unique_key END, limit_key,
    options, created_at
FROM afterword.history WHERE id = ANY (CAST(:ids AS uuid[]))
ORDER BY id
ON CONFLICT DO NOTHING
RETURNING CAST(id AS text)
