INSERT INTO afterword_history ({kept}, state, lost, error, result, started_at, finished_at)
SELECT {:kept}, :state, :lost, :error, :result, :started_at, :finished_at
WHERE NOT EXISTS (SELECT 1 FROM afterword_jobs WHERE id = :id)
ON CONFLICT (id) DO NOTHING
RETURNING id
