SELECT
    CAST(job_id AS text), attempt, worker, outcome, error, CAST(extract(epoch FROM started_at) AS double precision),
    CAST(extract(epoch FROM ended_at) AS double precision)
FROM afterword.attempts WHERE job_id = CAST(:id AS uuid)
ORDER BY attempt
