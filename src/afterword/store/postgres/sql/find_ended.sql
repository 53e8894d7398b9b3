SELECT
    {shown}, NULL, result,
    CAST(extract(epoch FROM created_at) AS double precision), CAST(extract(epoch FROM run_at) AS double precision),
    CAST(extract(epoch FROM started_at) AS double precision), CAST(extract(epoch FROM finished_at) AS double precision), NULL
FROM afterword.history AS job WHERE --where
ORDER BY job.id DESC LIMIT :limit
