SELECT
    {shown}, cancelling, NULL,
    CAST(extract(epoch FROM created_at) AS double precision), CAST(extract(epoch FROM run_at) AS double precision),
    CASE WHEN state = 'running' THEN CAST(extract(epoch FROM coalesce(claimed_at, created_at)) AS double precision) END, NULL,
    CASE WHEN state = 'queued' THEN CAST(extract(epoch FROM parked_at) AS double precision) END
FROM afterword.jobs AS job WHERE --where
ORDER BY job.id DESC LIMIT :limit
