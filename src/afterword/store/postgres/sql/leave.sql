WITH gone AS (DELETE FROM afterword.workers WHERE id = :worker RETURNING id, retired),
remembered AS (
    -- Not all of its jobs may be recovered at once.
    INSERT INTO afterword.retired (worker)
    SELECT id FROM gone
    WHERE retired AND EXISTS (SELECT 1 FROM afterword.jobs AS job WHERE job.state = 'running' AND job.worker = gone.id)
    ON CONFLICT DO NOTHING
)
SELECT id FROM gone
