-- The distinct (queue, priority) pairs with ready jobs, each found by one seek in jobs_ready: a claim
-- reads only due jobs of each lane, however many wait for a later time.
WITH RECURSIVE lanes (place, queue, priority) AS (
    SELECT
        served.place, served.queue,
        (
            SELECT min(priority) FROM afterword.jobs AS job
            WHERE job.state = 'queued' AND job.after IS NULL AND job.queue = served.queue
        )
    FROM unnest(CAST(:queues AS text[])) WITH ORDINALITY AS served (queue, place)
    UNION ALL
    SELECT
        lanes.place, lanes.queue,
        (
            SELECT min(priority) FROM afterword.jobs AS job
            WHERE job.state = 'queued' AND job.after IS NULL AND job.queue = lanes.queue AND job.priority > lanes.priority
        )
    FROM lanes WHERE lanes.priority IS NOT NULL
),
-- Materialised, or the planner may run it again for each row and take more than the limit.
due AS MATERIALIZED (
    SELECT lane.place, ready.id
    FROM (SELECT place, queue, priority FROM lanes WHERE priority IS NOT NULL ORDER BY place, priority) AS lane
    CROSS JOIN LATERAL (
        SELECT id FROM afterword.jobs AS job
        WHERE job.state = 'queued' AND job.after IS NULL AND job.queue = lane.queue AND job.priority = lane.priority
            AND job.run_at <= now() AND job.task <> ALL (CAST(:skip AS text[]))
            AND EXISTS (SELECT 1 FROM afterword.workers WHERE workers.id = :worker) -- who has left gets nothing
        ORDER BY job.run_at, job.id
        LIMIT :limit
        FOR UPDATE SKIP LOCKED
    ) AS ready
    LIMIT :limit
)
UPDATE afterword.jobs AS job SET state = 'running', attempt = job.attempt + 1, worker = :worker, error = NULL
FROM due WHERE job.id = due.id
RETURNING
    due.place, job.priority, job.run_at, CAST(job.id AS text), job.attempt, job.worker, job.task, CAST(job.arguments AS text),
    CAST(extract(epoch FROM job.created_at) AS double precision), job.queue
