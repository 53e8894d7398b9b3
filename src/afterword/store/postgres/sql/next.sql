-- Find the earliest job of these queues that waits for its time: one seek for each queue and priority.
WITH RECURSIVE lanes (queue, priority) AS (
    SELECT
        served.queue,
        (
            SELECT min(priority) FROM afterword.jobs AS job
            WHERE job.state = 'queued' AND job.after IS NULL AND job.queue = served.queue
        )
    FROM unnest(CAST(:queues AS text[])) AS served (queue)
    UNION ALL
    SELECT
        lanes.queue,
        (
            SELECT min(priority) FROM afterword.jobs AS job
            WHERE job.state = 'queued' AND job.after IS NULL AND job.queue = lanes.queue AND job.priority > lanes.priority
        )
    FROM lanes WHERE lanes.priority IS NOT NULL
)
SELECT CAST(extract(epoch FROM min((
    SELECT min(run_at) FROM afterword.jobs AS job
    WHERE job.state = 'queued' AND job.after IS NULL AND job.queue = lanes.queue AND job.priority = lanes.priority
        AND job.run_at > now()
)) - now()) AS double precision)
FROM lanes
