-- Find the earliest job of these queues that waits for its time: one seek for each priority.
WITH RECURSIVE lanes (queue, priority) AS (
    SELECT
        asked.value,
        (SELECT min(priority) FROM afterword_jobs AS job WHERE job.state = 'queued' AND job.after IS NULL AND job.queue = asked.value)
    FROM json_each(:queues) AS asked
    UNION ALL
    SELECT
        lanes.queue,
        (
            SELECT min(priority) FROM afterword_jobs AS job
            WHERE job.state = 'queued' AND job.after IS NULL AND job.queue = lanes.queue AND job.priority > lanes.priority
        )
    FROM lanes WHERE lanes.priority IS NOT NULL
)
SELECT min((
    SELECT min(run_at) FROM afterword_jobs AS job
    WHERE job.state = 'queued' AND job.after IS NULL AND job.queue = lanes.queue AND job.priority = lanes.priority AND job.run_at > :now
))
FROM lanes
