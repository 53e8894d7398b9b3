INSERT INTO afterword.jobs (
    id, task, arguments, queue, priority, state, run_at, attempt, worker, after, on_failure, request_id, tags, unique_key, limit_key, options,
    created_at
)
SELECT
    id, task, CAST(arguments AS json), queue, priority,
    CASE WHEN worker IS NULL THEN 'queued' ELSE 'running' END,
    coalesce(to_timestamp(run_at), now()),
    CASE WHEN worker IS NULL THEN 0 ELSE 1 END,
    worker, after, on_failure, request_id,
    CASE WHEN tags IS NOT NULL THEN ARRAY(SELECT json_array_elements_text(CAST(tags AS json))) END,
    unique_key, limit_key, CAST(options AS json), now()
FROM unnest(
    CAST(:ids AS uuid[]), CAST(:tasks AS text[]), CAST(:arguments AS text[]), CAST(:queues AS text[]), CAST(:priorities AS integer[]),
    CAST(:run_ats AS double precision[]), CAST(:workers AS text[]), CAST(:afters AS uuid[]), CAST(:on_failures AS text[]), CAST(:request_ids AS text[]),
    CAST(:tags AS text[]), CAST(:unique_keys AS text[]), CAST(:unique_ended AS boolean[]), CAST(:limit_keys AS text[]), CAST(:options AS text[])
) WITH ORDINALITY AS new (
    id, task, arguments, queue, priority, run_at, worker, after, on_failure, request_id, tags, unique_key, unique_ended, limit_key, options, place
)
-- Arrays, so that the planner cannot think of reading the history as a whole.
WHERE id <> ALL (ARRAY(SELECT id FROM afterword.history WHERE id = ANY (CAST(:ids AS uuid[]))))
    AND (
        unique_key IS NULL OR NOT unique_ended
        OR unique_key <> ALL (ARRAY(SELECT unique_key FROM afterword.history WHERE unique_key = ANY (CAST(:unique_keys AS text[]))))
    )
-- Whoever adds the same key waits here for the first one: in one order, so that no two wait for each other.
ORDER BY unique_key, place
ON CONFLICT DO NOTHING -- by its id, or by its unique key
RETURNING CAST(id AS text)
