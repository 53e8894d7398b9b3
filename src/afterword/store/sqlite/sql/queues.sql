-- A part for each index, so that no row of `jobs` is read but those that run or wait for another.
SELECT
    queue, sum(due), sum(scheduled), sum(waiting), sum(running), min(oldest), coalesce(max(rule.paused), 0), max(rule.concurrency)
FROM (
    SELECT
        queue, sum(run_at <= :now) AS due, sum(run_at > :now) AS scheduled, 0 AS waiting, 0 AS running,
        min(iif(run_at <= :now, run_at, NULL)) AS oldest
    FROM afterword_jobs WHERE state = 'queued' AND after IS NULL GROUP BY queue
    UNION ALL
    SELECT queue, 0, 0, state = 'queued', 0, NULL FROM afterword_jobs WHERE after IS NOT NULL
    UNION ALL
    SELECT queue, 0, 0, 0, 1, NULL FROM afterword_jobs WHERE state = 'running'
    UNION ALL
    SELECT queue, 0, 0, 0, 0, NULL FROM afterword_jobs WHERE state NOT IN ('queued', 'running')
    UNION ALL
    SELECT name, 0, 0, 0, 0, NULL FROM afterword_queues WHERE paused OR concurrency IS NOT NULL
)
LEFT JOIN afterword_queues AS rule ON rule.name = queue
GROUP BY queue ORDER BY queue
