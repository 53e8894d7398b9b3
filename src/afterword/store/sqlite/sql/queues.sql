-- Skips through the index from each queue and priority to the next, so that at most :limit jobs of a kind are read for each.
WITH RECURSIVE place (queue, priority) AS (
    SELECT * FROM (
        SELECT queue, priority FROM afterword_jobs WHERE state = 'queued' AND after IS NULL
        ORDER BY queue, priority, run_at, id LIMIT 1
    )
    UNION ALL
    SELECT job.queue, job.priority FROM place JOIN afterword_jobs AS job ON job.id = coalesce(
        (
            SELECT id FROM afterword_jobs
            WHERE state = 'queued' AND after IS NULL AND queue = place.queue AND priority > place.priority
            ORDER BY priority, run_at, id LIMIT 1
        ),
        (
            SELECT id FROM afterword_jobs
            WHERE state = 'queued' AND after IS NULL AND queue > place.queue
            ORDER BY queue, priority, run_at, id LIMIT 1
        )
    )
)
SELECT
    queue, sum(due), sum(scheduled), sum(waiting), sum(running), min(oldest), coalesce(max(rule.paused), 0), max(rule.concurrency)
FROM (
    SELECT
        queue,
        (SELECT count(*) FROM (
            SELECT 1 FROM afterword_jobs AS job
            WHERE state = 'queued' AND after IS NULL AND job.queue = place.queue AND job.priority = place.priority AND run_at <= :now
            LIMIT :limit
        )) AS due,
        (SELECT count(*) FROM (
            SELECT 1 FROM afterword_jobs AS job
            WHERE state = 'queued' AND after IS NULL AND job.queue = place.queue AND job.priority = place.priority AND run_at > :now
            LIMIT :limit
        )) AS scheduled,
        0 AS waiting,
        0 AS running,
        (
            SELECT min(run_at) FROM afterword_jobs AS job
            WHERE state = 'queued' AND after IS NULL AND job.queue = place.queue AND job.priority = place.priority AND run_at <= :now
        ) AS oldest
    FROM place
    UNION ALL
    SELECT queue, 0, 0, sum(state = 'queued'), 0, NULL
    FROM (SELECT queue, state FROM afterword_jobs WHERE after IS NOT NULL LIMIT :limit) GROUP BY queue
    UNION ALL
    SELECT queue, 0, 0, 0, 1, NULL FROM afterword_jobs WHERE state = 'running'
    UNION ALL
    SELECT queue, 0, 0, 0, 0, NULL FROM afterword_jobs WHERE state NOT IN ('queued', 'running')
    UNION ALL
    SELECT name, 0, 0, 0, 0, NULL FROM afterword_queues WHERE paused OR concurrency IS NOT NULL
)
LEFT JOIN afterword_queues AS rule ON rule.name = queue
GROUP BY queue ORDER BY queue
