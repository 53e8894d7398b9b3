INSERT INTO afterword.jobs (id, task, arguments, queue, priority, state, run_at, attempt, worker, after, on_failure, request_id, created_at)
SELECT
    id, task, CAST(arguments AS json), queue, priority,
    CASE WHEN worker IS NULL THEN 'queued' ELSE 'running' END,
    coalesce(to_timestamp(run_at), now()),
    CASE WHEN worker IS NULL THEN 0 ELSE 1 END,
    worker, after, on_failure, request_id, now()
FROM unnest(
    CAST(:ids AS uuid[]), CAST(:tasks AS text[]), CAST(:arguments AS text[]), CAST(:queues AS text[]), CAST(:priorities AS integer[]),
    CAST(:run_ats AS double precision[]), CAST(:workers AS text[]), CAST(:afters AS uuid[]), CAST(:on_failures AS text[]), CAST(:request_ids AS text[])
) AS new (id, task, arguments, queue, priority, run_at, worker, after, on_failure, request_id)
-- An array, so that the planner cannot think of reading the history as a whole.
WHERE id <> ALL (ARRAY(SELECT id FROM afterword.history WHERE id = ANY (CAST(:ids AS uuid[]))))
ON CONFLICT (id) DO NOTHING
RETURNING CAST(id AS text)
