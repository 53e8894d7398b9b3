-- Record the last attempts of jobs that are retried by hand and so leave the history.
INSERT INTO afterword.attempts (job_id, attempt, worker, outcome, error, started_at, ended_at)
SELECT id, attempt, worker, state, error, started_at, finished_at FROM afterword.history
WHERE id = ANY (CAST(:ids AS uuid[])) AND attempt > 0
ON CONFLICT DO NOTHING
RETURNING job_id
