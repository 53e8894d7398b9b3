WITH gone AS (DELETE FROM afterword.workers WHERE id = :worker RETURNING id, retired),
remembered AS (
    -- Its jobs may be recovered in several steps.
    INSERT INTO afterword.retired (worker)
    SELECT id FROM gone
    WHERE retired AND EXISTS (SELECT 1 FROM afterword.jobs AS job WHERE job.state = 'running' AND job.worker = gone.id)
    ON CONFLICT DO NOTHING
)
SELECT id FROM gone
