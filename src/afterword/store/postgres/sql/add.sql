INSERT INTO afterword.jobs ({said}, state, run_at, attempt, worker, fence, after, unique_key, created_at)
SELECT
    {given.said},
    CASE WHEN worker IS NULL THEN 'queued' ELSE 'running' END,
    CASE WHEN delayed THEN clock_timestamp() + run_at * interval '1 second' ELSE coalesce(to_timestamp(run_at), now()) END,
    CASE WHEN worker IS NULL THEN 0 ELSE 1 END,
    worker, fence, after, unique_key, now()
FROM unnest(
    CAST(:ids AS uuid[]), CAST(:tasks AS text[]), CAST(:arguments AS text[]), CAST(:queues AS text[]), CAST(:priorities AS integer[]),
    CAST(:run_ats AS double precision[]), CAST(:delayed AS boolean[]), CAST(:workers AS text[]), CAST(:fences AS bigint[]), CAST(:afters AS uuid[]), CAST(:on_failures AS text[]), CAST(:request_ids AS text[]),
    CAST(:tags AS text[]), CAST(:unique_keys AS text[]), CAST(:unique_ended AS boolean[]), CAST(:limit_keys AS text[]), CAST(:options AS text[])
) WITH ORDINALITY AS new (
    id, task, arguments, queue, priority, run_at, delayed, worker, fence, after, on_failure, request_id, tags, unique_key, unique_ended, limit_key, options, place
)
-- One look into an index for each: the planner cannot turn this form into a scan of the history.
WHERE (SELECT history.id FROM afterword.history WHERE history.id = new.id) IS NULL
    AND (
        unique_key IS NULL OR NOT unique_ended
        OR (SELECT count(*) FROM afterword.history WHERE history.unique_key = new.unique_key) = 0
        AND (SELECT count(*) FROM afterword.jobs WHERE jobs.unique_key = new.unique_key AND jobs.cancelling IS NOT NULL) = 0
    )
-- Transactions that add the same key wait here for the first one; in one order, or two could wait for each other.
ORDER BY unique_key, place
ON CONFLICT DO NOTHING -- of its id, or of its unique key
RETURNING CAST(id AS text)
