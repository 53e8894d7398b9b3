INSERT INTO afterword_history ({kept}, state, lost, error, result, started_at, finished_at)
SELECT {kept}, 'cancelled', lost, :reason, NULL, NULL, :now
FROM afterword_jobs WHERE id = :id AND state = 'queued'
RETURNING id
