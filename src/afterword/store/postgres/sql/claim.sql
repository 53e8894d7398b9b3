WITH RECURSIVE served (place, queue, room) AS MATERIALIZED (
    -- The room in each queue: nothing in paused ones, the free places in limited ones; NULL: no limit.
    SELECT
        asked.place, asked.queue,
        CASE WHEN rule.concurrency IS NOT NULL THEN rule.concurrency - (
            SELECT count(*) FROM afterword.jobs AS other WHERE other.state = 'running' AND other.queue = asked.queue
        ) END
    FROM unnest(CAST(:queues AS text[])) WITH ORDINALITY AS asked (queue, place)
    LEFT JOIN afterword.queues AS rule ON rule.name = asked.queue
    WHERE rule.paused IS NOT TRUE
),
-- The distinct (queue, priority) pairs with ready jobs, each found by one seek in jobs_ready: a claim
-- reads only due jobs of each lane, not those that wait for a later time.
lanes (place, queue, room, priority) AS (
    SELECT
        served.place, served.queue, served.room,
        (
            SELECT min(priority) FROM afterword.jobs AS job
            WHERE job.state = 'queued' AND job.after IS NULL AND job.queue = served.queue
        )
    FROM served WHERE served.room IS NULL OR served.room > 0
    UNION ALL
    SELECT
        lanes.place, lanes.queue, lanes.room,
        (
            SELECT min(priority) FROM afterword.jobs AS job
            WHERE job.state = 'queued' AND job.after IS NULL AND job.queue = lanes.queue AND job.priority > lanes.priority
        )
    FROM lanes WHERE lanes.priority IS NOT NULL
),
running (keys) AS MATERIALIZED (
    SELECT jsonb_object_agg(limit_key, jobs)
    FROM (
        SELECT limit_key, count(*) AS jobs FROM afterword.jobs WHERE state = 'running' AND limit_key IS NOT NULL GROUP BY limit_key
    ) AS counted
),
-- Materialised, or the planner may run it again for each row and take more than the limit.
due AS MATERIALIZED (
    SELECT lane.place, lane.room, ready.id
    FROM (SELECT place, queue, room, priority FROM lanes WHERE priority IS NOT NULL ORDER BY place, priority) AS lane
    CROSS JOIN LATERAL (
        SELECT id FROM afterword.jobs AS job
        WHERE job.state = 'queued' AND job.after IS NULL AND job.queue = lane.queue AND job.priority = lane.priority
            AND job.run_at <= now() AND job.task <> ALL (CAST(:skip AS text[]))
            AND EXISTS (SELECT 1 FROM afterword.workers WHERE workers.id = :worker) -- a worker that has left gets nothing
-- The job that has its key was asked to end, and still runs: wait for it.
            AND (
                job.unique_key IS NULL OR NOT EXISTS (
                    SELECT 1 FROM afterword.jobs AS ending
                    WHERE ending.unique_key = job.unique_key AND ending.cancelling IS NOT NULL AND ending.state = 'running'
                )
            )
-- Subtract the running jobs; if this claim takes too many itself, they are given back.
            -- One object, read once: counting for each waiting job took six times as long.
            AND (
                job.limit_key IS NULL OR (
                    job.limit_key <> ALL (CAST(:skip_keys AS text[])) -- another process decides on these just now
                    AND (
                        job.options ->> 'limit' IS NULL
                        OR CAST(job.options ->> 'limit' AS integer) > coalesce(CAST((SELECT keys FROM running) ->> job.limit_key AS integer), 0)
                    )
                )
            )
        ORDER BY job.run_at, job.id
        LIMIT least(:limit, lane.room)
        FOR UPDATE SKIP LOCKED
    ) AS ready
    LIMIT :limit
)
UPDATE afterword.jobs AS job SET state = 'running', attempt = job.attempt + 1, worker = :worker, fence = :fence, claimed_at = now()
FROM due WHERE job.id = due.id
RETURNING
    due.place, job.priority, job.run_at, CAST(job.id AS text), job.attempt, job.worker, job.fence, job.task, CAST(job.arguments AS text),
    CAST(extract(epoch FROM job.created_at) AS double precision), job.queue, CAST(job.options AS text), job.tags, job.failures, job.interrupted, job.lost,
    coalesce(CAST(extract(epoch FROM now() - job.parked_at) AS double precision), 0), job.limit_key, job.slot_at IS NOT NULL, due.room IS NOT NULL
