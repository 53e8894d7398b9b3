INSERT INTO afterword.jobs (
    id, task, arguments, queue, priority, state, run_at, attempt, lost, interrupted, worker, after, on_failure, request_id, error, created_at
)
SELECT
    id, task, CAST(arguments AS json), queue, priority, 'queued', to_timestamp(run_at), attempt, lost, interrupted, NULL, after, on_failure,
    request_id, error, to_timestamp(created_at)
FROM unnest(
    CAST(:ids AS uuid[]), CAST(:tasks AS text[]), CAST(:arguments AS text[]), CAST(:queues AS text[]), CAST(:priorities AS integer[]),
    CAST(:run_ats AS double precision[]), CAST(:attempts AS integer[]), CAST(:lost AS integer[]), CAST(:interrupted AS integer[]),
    CAST(:afters AS uuid[]), CAST(:on_failures AS text[]), CAST(:request_ids AS text[]), CAST(:errors AS text[]), CAST(:created_ats AS double precision[])
) AS old (id, task, arguments, queue, priority, run_at, attempt, lost, interrupted, after, on_failure, request_id, error, created_at)
WHERE id <> ALL (ARRAY(SELECT id FROM afterword.history WHERE id = ANY (CAST(:ids AS uuid[]))))
ON CONFLICT (id) DO NOTHING
RETURNING CAST(id AS text)
