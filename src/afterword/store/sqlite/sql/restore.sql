INSERT INTO afterword_jobs (
    id, task, arguments, queue, priority, state, run_at, attempt, lost, interrupted, after, on_failure, request_id,
    error, tags, unique_key, limit_key, options, failures, progress, created_at
)
SELECT
    :id, :task, :arguments, :queue, :priority, 'queued', :run_at, :attempt, :lost, :interrupted, :after, :on_failure, :request_id,
    :error, :tags,
    -- One that has been added meanwhile keeps the key.
    iif(EXISTS (SELECT 1 FROM afterword_jobs WHERE unique_key = :unique_key AND cancelling IS NULL), NULL, :unique_key),
    :limit_key, :options, :failures, :progress, :created_at
WHERE NOT EXISTS (SELECT 1 FROM afterword_history WHERE id = :id)
ON CONFLICT (id) DO NOTHING
RETURNING id
