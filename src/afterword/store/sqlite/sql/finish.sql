INSERT INTO afterword_history ({kept}, state, lost, error, result, started_at, finished_at)
SELECT {kept}, :state, lost + :lost, :error, :result, :started_at, :now
FROM afterword_jobs
WHERE id = :id AND attempt = :attempt AND worker IS :worker AND fence IS :fence
RETURNING id, attempt, worker
