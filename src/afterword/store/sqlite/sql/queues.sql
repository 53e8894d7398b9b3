SELECT
    queue,
    coalesce(sum(state = 'queued' AND after IS NULL AND run_at <= :now), 0),
    coalesce(sum(state = 'queued' AND after IS NULL AND run_at > :now), 0),
    coalesce(sum(state = 'queued' AND after IS NOT NULL), 0),
    coalesce(sum(state = 'running'), 0),
    min(iif(state = 'queued' AND after IS NULL AND run_at <= :now, run_at, NULL)),
    coalesce(max(rule.paused), 0),
    max(rule.concurrency)
FROM (SELECT queue, state, after, run_at FROM afterword_jobs UNION ALL SELECT name, NULL, NULL, NULL FROM afterword_queues WHERE paused OR concurrency IS NOT NULL)
LEFT JOIN afterword_queues AS rule ON rule.name = queue
GROUP BY queue ORDER BY queue
