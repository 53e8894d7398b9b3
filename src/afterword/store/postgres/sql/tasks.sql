SELECT
    task,
    count(*) FILTER (WHERE state = 'queued'),
    count(*) FILTER (WHERE state = 'running'),
    count(*) FILTER (WHERE state = 'completed'),
    count(*) FILTER (WHERE state = 'handed_over'),
    count(*) FILTER (WHERE state = 'failed'),
    count(*) FILTER (WHERE state = 'cancelled'),
    CAST(extract(epoch FROM max(finished_at)) AS double precision)
FROM (
    SELECT task, state, NULL AS finished_at FROM afterword.jobs
    UNION ALL
    SELECT task, state, finished_at FROM afterword.history WHERE finished_at >= to_timestamp(:since)
) AS job
GROUP BY task
ORDER BY task
