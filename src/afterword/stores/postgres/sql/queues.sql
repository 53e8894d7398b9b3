SELECT
    queue,
    count(*) FILTER (WHERE state = 'queued' AND after IS NULL AND run_at <= now()),
    count(*) FILTER (WHERE state = 'queued' AND after IS NULL AND run_at > now()),
    count(*) FILTER (WHERE state = 'queued' AND after IS NOT NULL),
    count(*) FILTER (WHERE state = 'running'),
    CAST(extract(epoch FROM min(run_at) FILTER (WHERE state = 'queued' AND after IS NULL AND run_at <= now())) AS double precision)
FROM afterword.jobs
GROUP BY queue
ORDER BY queue
