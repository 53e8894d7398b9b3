WITH ended AS (
    DELETE FROM afterword.jobs AS job
    USING unnest(
        CAST(:ids AS uuid[]), CAST(:attempts AS integer[]), CAST(:workers AS text[]), CAST(:states AS text[]), CAST(:errors AS text[]),
        CAST(:ages AS double precision[]), CAST(:lost AS integer[])
    ) AS final (id, attempt, worker, state, error, age, lost)
    WHERE job.id = final.id AND job.attempt = final.attempt AND job.worker = final.worker
    RETURNING
        job.id, job.task, job.arguments, job.queue, job.priority, final.state, job.run_at, job.attempt, job.lost + final.lost AS lost,
        job.interrupted, job.worker, job.after, job.on_failure, job.request_id, final.error, job.created_at, final.age
)
INSERT INTO afterword.history (
    id, task, arguments, queue, priority, state, run_at, attempt, lost, interrupted, worker, after, on_failure, request_id, error,
    created_at, started_at, finished_at
)
SELECT
    id, task, arguments, queue, priority, state, run_at, attempt, lost, interrupted, worker, after, on_failure, request_id, error,
    created_at, now() - age * interval '1 second', now()
FROM ended
RETURNING CAST(id AS text)
