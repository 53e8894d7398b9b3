SELECT
    coalesce(job.queue, rule.name), coalesce(due, 0), coalesce(scheduled, 0), coalesce(waiting, 0), coalesce(running, 0), oldest_at,
    coalesce(rule.paused, false), rule.concurrency
FROM (
    SELECT
        queue,
        count(*) FILTER (WHERE state = 'queued' AND after IS NULL AND run_at <= now()) AS due,
        count(*) FILTER (WHERE state = 'queued' AND after IS NULL AND run_at > now()) AS scheduled,
        count(*) FILTER (WHERE state = 'queued' AND after IS NOT NULL) AS waiting,
        count(*) FILTER (WHERE state = 'running') AS running,
        CAST(extract(epoch FROM min(run_at) FILTER (WHERE state = 'queued' AND after IS NULL AND run_at <= now())) AS double precision) AS oldest_at
    FROM afterword.jobs
    GROUP BY queue
) AS job
FULL JOIN (SELECT name, paused, concurrency FROM afterword.queues WHERE paused OR concurrency IS NOT NULL) AS rule ON rule.name = job.queue
ORDER BY 1
