-- A worker that is renewing or leaving at this moment holds its row: skip it, the next call looks again.
WITH gone AS (
    DELETE FROM afterword.workers
    WHERE id IN (
        SELECT id FROM afterword.workers WHERE expires_at <= now() OR id = ANY (CAST(:dead AS text[])) FOR UPDATE SKIP LOCKED
    )
    RETURNING id, retired
),
remembered AS (
    -- Its jobs may be recovered in several steps.
    INSERT INTO afterword.retired (worker)
    SELECT id FROM gone
    WHERE retired AND EXISTS (SELECT 1 FROM afterword.jobs AS job WHERE job.state = 'running' AND job.worker = gone.id)
    ON CONFLICT DO NOTHING
)
SELECT id FROM gone
