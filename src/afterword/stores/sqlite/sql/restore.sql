INSERT INTO afterword_jobs (
    id, task, arguments, queue, priority, state, run_at, attempt, lost, interrupted, after, on_failure, request_id,
    error, created_at
)
SELECT
    :id, :task, :arguments, :queue, :priority, 'queued', :run_at, :attempt, :lost, :interrupted, :after, :on_failure, :request_id,
    :error, :created_at
WHERE NOT EXISTS (SELECT 1 FROM afterword_history WHERE id = :id)
ON CONFLICT (id) DO NOTHING
RETURNING id
