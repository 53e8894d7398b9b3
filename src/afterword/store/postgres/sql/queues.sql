-- Skips through the index from each queue and priority to the next, so that at most :limit jobs of a kind are read for each.
WITH RECURSIVE place (queue, priority) AS (
    (
        SELECT queue, priority FROM afterword.jobs WHERE state = 'queued' AND after IS NULL
        ORDER BY queue, priority, run_at, id LIMIT 1
    )
    UNION ALL
    SELECT next.queue, next.priority FROM place CROSS JOIN LATERAL (
        SELECT queue, priority FROM afterword.jobs
        WHERE state = 'queued' AND after IS NULL AND (queue, priority) > (place.queue, place.priority)
        ORDER BY queue, priority, run_at, id LIMIT 1
    ) AS next
)
SELECT
    coalesce(job.queue, rule.name), coalesce(due, 0), coalesce(scheduled, 0), coalesce(waiting, 0), coalesce(running, 0), oldest_at,
    coalesce(rule.paused, false), rule.concurrency
FROM (
    SELECT
        queue, CAST(sum(due) AS bigint) AS due, CAST(sum(scheduled) AS bigint) AS scheduled, CAST(sum(waiting) AS bigint) AS waiting,
        CAST(sum(running) AS bigint) AS running, CAST(extract(epoch FROM min(oldest)) AS double precision) AS oldest_at
    FROM (
        SELECT place.queue, due.number AS due, scheduled.number AS scheduled, 0 AS waiting, 0 AS running, due.oldest
        FROM place
        CROSS JOIN LATERAL (
            SELECT count(*) AS number, min(run_at) AS oldest FROM (
                SELECT run_at FROM afterword.jobs
                WHERE state = 'queued' AND after IS NULL AND queue = place.queue AND priority = place.priority AND run_at <= now()
                ORDER BY run_at LIMIT CAST(:limit AS bigint)
            ) AS counted
        ) AS due
        CROSS JOIN LATERAL (
            SELECT count(*) AS number FROM (
                SELECT 1 FROM afterword.jobs
                WHERE state = 'queued' AND after IS NULL AND queue = place.queue AND priority = place.priority AND run_at > now()
                LIMIT CAST(:limit AS bigint)
            ) AS counted
        ) AS scheduled
        UNION ALL
        SELECT queue, 0, 0, count(*) FILTER (WHERE state = 'queued'), 0, NULL
        FROM (SELECT queue, state FROM afterword.jobs WHERE after IS NOT NULL LIMIT CAST(:limit AS bigint)) AS counted
        GROUP BY queue
        UNION ALL
        SELECT queue, 0, 0, 0, 1, NULL FROM afterword.jobs WHERE state = 'running'
    ) AS part
    GROUP BY queue
) AS job
FULL JOIN (SELECT name, paused, concurrency FROM afterword.queues WHERE paused OR concurrency IS NOT NULL) AS rule ON rule.name = job.queue
ORDER BY 1
