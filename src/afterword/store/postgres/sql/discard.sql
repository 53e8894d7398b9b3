-- Delete one held job, which is locked; its followers now wait for its predecessor. A job that another request shares stays: it is
-- released instead.
WITH gone AS (
    DELETE FROM afterword.jobs
    WHERE id = CAST(:id AS uuid) AND attempt = :attempt AND worker = :worker AND fence IS NOT DISTINCT FROM CAST(:fence AS bigint)
        AND NOT shared
    RETURNING id, after
),
moved AS (UPDATE afterword.jobs AS job SET after = gone.after FROM gone WHERE job.after = gone.id RETURNING job.id)
SELECT (SELECT count(*) FROM moved) FROM gone
