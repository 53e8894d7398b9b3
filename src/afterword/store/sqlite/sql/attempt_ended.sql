-- Record the last attempts of jobs that are retried by hand and so leave the history.
INSERT INTO afterword_attempts (job_id, attempt, worker, outcome, error, started_at, ended_at)
SELECT id, attempt, worker, state, error, started_at, finished_at FROM afterword_history
WHERE id IN (SELECT value FROM json_each(:ids)) AND attempt > 0
ON CONFLICT DO NOTHING
