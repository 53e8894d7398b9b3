INSERT INTO afterword.history ({kept}, state, lost, error, result, started_at, finished_at)
SELECT {given.kept}, state, lost, error, result, to_timestamp(started_at), to_timestamp(finished_at)
FROM unnest(
    CAST(:ids AS uuid[]), CAST(:tasks AS text[]), CAST(:arguments AS text[]), CAST(:queues AS text[]), CAST(:priorities AS integer[]),
    CAST(:states AS text[]), CAST(:run_ats AS double precision[]), CAST(:attempts AS integer[]), CAST(:lost AS integer[]),
    CAST(:interrupted AS integer[]), CAST(:workers AS text[]), CAST(:afters AS uuid[]), CAST(:on_failures AS text[]), CAST(:request_ids AS text[]),
    CAST(:errors AS text[]), CAST(:tags AS text[]), CAST(:unique_keys AS text[]), CAST(:limit_keys AS text[]), CAST(:options AS text[]),
    CAST(:failures AS integer[]), CAST(:progress AS text[]), CAST(:results AS text[]), CAST(:created_ats AS double precision[]),
    CAST(:started_ats AS double precision[]), CAST(:finished_ats AS double precision[])
) AS old (
    id, task, arguments, queue, priority, state, run_at, attempt, lost, interrupted, worker, after, on_failure, request_id, error,
    tags, unique_key, limit_key, options, failures, progress, result, created_at, started_at, finished_at
)
WHERE id <> ALL (ARRAY(SELECT id FROM afterword.jobs WHERE id = ANY (CAST(:ids AS uuid[]))))
ON CONFLICT (id) DO NOTHING
RETURNING CAST(id AS text)
