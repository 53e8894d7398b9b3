WITH ended AS (
    DELETE FROM afterword.jobs AS job
    USING unnest(
        CAST(:ids AS uuid[]), CAST(:attempts AS integer[]), CAST(:workers AS text[]), CAST(:fences AS bigint[]),
        CAST(:states AS text[]), CAST(:errors AS text[]), CAST(:results AS text[]), CAST(:ages AS double precision[]), CAST(:lost AS integer[])
    ) AS final (id, attempt, worker, fence, state, error, result, age, lost)
    WHERE job.id = final.id AND job.attempt = final.attempt AND job.worker = final.worker
        AND job.fence IS NOT DISTINCT FROM final.fence
    RETURNING
        job.id, job.task, job.arguments, job.queue, job.priority, final.state, job.run_at, job.attempt, job.lost + final.lost AS lost,
        job.interrupted, job.worker, job.after, job.on_failure, job.request_id, final.error, job.tags, job.unique_key, job.limit_key,
        job.options, job.failures, job.progress, final.result, job.created_at, final.age, job.fence
),
noted AS (
    INSERT INTO afterword.history (
        id, task, arguments, queue, priority, state, run_at, attempt, lost, interrupted, worker, after, on_failure, request_id, error,
        tags, unique_key, limit_key, options, failures, progress, result, created_at, started_at, finished_at
    )
    SELECT
        id, task, arguments, queue, priority, state, run_at, attempt, lost, interrupted, worker, after, on_failure, request_id, error,
        tags, unique_key, limit_key, options, failures, progress, result, created_at, now() - age * interval '1 second', now()
    FROM ended
)
SELECT
    CAST(id AS text), attempt, worker, fence, state,
    -- Whether others may have waited for its place.
    limit_key IS NOT NULL OR queue IN (SELECT name FROM afterword.queues WHERE concurrency IS NOT NULL)
FROM ended
