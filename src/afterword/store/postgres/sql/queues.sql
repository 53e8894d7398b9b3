-- A part for each index, so that no row of `jobs` is read but those that run or wait for another.
SELECT
    coalesce(job.queue, rule.name), coalesce(due, 0), coalesce(scheduled, 0), coalesce(waiting, 0), coalesce(running, 0), oldest_at,
    coalesce(rule.paused, false), rule.concurrency
FROM (
    SELECT
        queue, CAST(sum(due) AS bigint) AS due, CAST(sum(scheduled) AS bigint) AS scheduled, CAST(sum(waiting) AS bigint) AS waiting,
        CAST(sum(running) AS bigint) AS running, CAST(extract(epoch FROM min(oldest)) AS double precision) AS oldest_at
    FROM (
        SELECT
            queue, count(*) FILTER (WHERE run_at <= now()) AS due, count(*) FILTER (WHERE run_at > now()) AS scheduled,
            0 AS waiting, 0 AS running, min(run_at) FILTER (WHERE run_at <= now()) AS oldest
        FROM afterword.jobs WHERE state = 'queued' AND after IS NULL GROUP BY queue
        UNION ALL
        SELECT queue, 0, 0, CAST(state = 'queued' AS integer), 0, NULL FROM afterword.jobs WHERE after IS NOT NULL
        UNION ALL
        SELECT queue, 0, 0, 0, 1, NULL FROM afterword.jobs WHERE state = 'running'
    ) AS part
    GROUP BY queue
) AS job
FULL JOIN (SELECT name, paused, concurrency FROM afterword.queues WHERE paused OR concurrency IS NOT NULL) AS rule ON rule.name = job.queue
ORDER BY 1
