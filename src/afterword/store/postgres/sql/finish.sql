WITH ended AS (
    DELETE FROM afterword.jobs AS job
    USING unnest(
        CAST(:ids AS uuid[]), CAST(:attempts AS integer[]), CAST(:workers AS text[]), CAST(:fences AS bigint[]),
        CAST(:states AS text[]), CAST(:errors AS text[]), CAST(:results AS text[]), CAST(:ages AS double precision[]), CAST(:lost AS integer[])
    ) AS final (id, attempt, worker, fence, state, error, result, age, lost)
    WHERE job.id = final.id AND job.attempt = final.attempt AND job.worker = final.worker
        AND job.fence IS NOT DISTINCT FROM final.fence
    RETURNING {job.kept}, job.fence, job.lost + final.lost AS lost, final.state, final.error, final.result, final.age
),
noted AS (
    INSERT INTO afterword.history ({kept}, state, lost, error, result, started_at, finished_at)
    SELECT {kept}, state, lost, error, result, now() - age * interval '1 second', now() FROM ended
)
SELECT
    CAST(id AS text), attempt, worker, fence, state, CAST(after AS text),
    -- True if others may have waited for its place.
    limit_key IS NOT NULL OR queue IN (SELECT name FROM afterword.queues WHERE concurrency IS NOT NULL)
FROM ended
