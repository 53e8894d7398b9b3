-- A job whose unique key another job has is left out; without :keyed, it is added without its key.
INSERT INTO afterword.jobs (
    {said}, state, run_at, attempt, lost, interrupted, after, error, failures, progress, created_at, unique_key
)
SELECT
    {given.said}, 'queued', to_timestamp(run_at), attempt, lost, interrupted, after, error, failures, progress, to_timestamp(created_at),
    CASE WHEN CAST(:keyed AS boolean) THEN unique_key END
FROM unnest(
    CAST(:ids AS uuid[]), CAST(:tasks AS text[]), CAST(:arguments AS text[]), CAST(:queues AS text[]), CAST(:priorities AS integer[]),
    CAST(:run_ats AS double precision[]), CAST(:attempts AS integer[]), CAST(:lost AS integer[]), CAST(:interrupted AS integer[]),
    CAST(:afters AS uuid[]), CAST(:on_failures AS text[]), CAST(:request_ids AS text[]), CAST(:errors AS text[]), CAST(:tags AS text[]),
    CAST(:unique_keys AS text[]), CAST(:limit_keys AS text[]), CAST(:options AS text[]), CAST(:failures AS integer[]), CAST(:progress AS text[]),
    CAST(:created_ats AS double precision[])
) AS old (
    id, task, arguments, queue, priority, run_at, attempt, lost, interrupted, after, on_failure, request_id, error,
    tags, unique_key, limit_key, options, failures, progress, created_at
)
WHERE id <> ALL (ARRAY(SELECT id FROM afterword.history WHERE id = ANY (CAST(:ids AS uuid[]))))
ORDER BY unique_key, id
ON CONFLICT DO NOTHING
RETURNING CAST(id AS text)
