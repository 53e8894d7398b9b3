-- Record an attempt that did not end its job.
INSERT INTO afterword_attempts (job_id, attempt, worker, outcome, error, started_at, ended_at)
VALUES (:id, :attempt, :worker, :outcome, :error, :started_at, :now)
ON CONFLICT DO NOTHING
