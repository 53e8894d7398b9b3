INSERT INTO afterword_jobs (
    {said}, state, run_at, attempt, lost, interrupted, after, error, failures, progress, created_at, unique_key
)
SELECT
    {:said}, 'queued', :run_at, :attempt, :lost, :interrupted, :after, :error, :failures, :progress, :created_at,
    -- A job that has been added meanwhile keeps the key.
    iif(EXISTS (SELECT 1 FROM afterword_jobs WHERE unique_key = :unique_key AND cancelling IS NULL), NULL, :unique_key)
WHERE NOT EXISTS (SELECT 1 FROM afterword_history WHERE id = :id)
ON CONFLICT (id) DO NOTHING
RETURNING id
