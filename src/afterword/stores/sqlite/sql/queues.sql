SELECT
    queue,
    sum(state = 'queued' AND after IS NULL AND run_at <= :now),
    sum(state = 'queued' AND after IS NULL AND run_at > :now),
    sum(state = 'queued' AND after IS NOT NULL),
    sum(state = 'running'),
    min(iif(state = 'queued' AND after IS NULL AND run_at <= :now, run_at, NULL))
FROM afterword_jobs GROUP BY queue ORDER BY queue
