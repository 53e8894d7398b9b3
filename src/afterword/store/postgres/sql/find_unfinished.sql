SELECT
    {shown}, cancelling, NULL,
    CAST(extract(epoch FROM created_at) AS double precision), CAST(extract(epoch FROM run_at) AS double precision), NULL, NULL
FROM afterword.jobs AS job WHERE --where
ORDER BY job.id DESC LIMIT :limit
