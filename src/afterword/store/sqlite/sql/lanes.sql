-- The distinct (queue, priority) pairs with ready jobs, in the order of the queues, each found by one
-- seek in jobs_ready: a claim per lane reads only due jobs, not those that wait for a later time. One row, see claim.sql.
WITH RECURSIVE lanes (place, queue, priority) AS (
    SELECT
        asked.key, asked.value,
        (SELECT min(priority) FROM afterword_jobs AS job WHERE job.state = 'queued' AND job.after IS NULL AND job.queue = asked.value)
    FROM json_each(:queues) AS asked
    UNION ALL
    SELECT
        lanes.place, lanes.queue,
        (
            SELECT min(priority) FROM afterword_jobs AS job
            WHERE job.state = 'queued' AND job.after IS NULL AND job.queue = lanes.queue AND job.priority > lanes.priority
        )
    FROM lanes WHERE lanes.priority IS NOT NULL
)
SELECT json_group_array(json_array(queue, priority))
FROM (SELECT queue, priority FROM lanes WHERE priority IS NOT NULL ORDER BY place, priority)
