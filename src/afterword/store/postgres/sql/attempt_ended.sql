-- The jobs are tried again by hand: what their last attempts came to is about to leave the history.
INSERT INTO afterword.attempts (job_id, attempt, worker, outcome, error, started_at, ended_at)
SELECT id, attempt, worker, state, error, started_at, finished_at FROM afterword.history
WHERE id = ANY (CAST(:ids AS uuid[])) AND attempt > 0
ON CONFLICT DO NOTHING
RETURNING job_id
