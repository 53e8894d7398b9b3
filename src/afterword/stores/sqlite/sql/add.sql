INSERT INTO afterword_jobs (id, task, arguments, queue, priority, state, run_at, attempt, worker, after, on_failure, request_id, tags, unique_key, limit_key, options, created_at)
SELECT
    :id, :task, :arguments, :queue, :priority, :state, :run_at, :attempt, :worker,
    (SELECT id FROM afterword_jobs WHERE id = :after), -- a predecessor that has ended is not waited for
    :on_failure, :request_id, :tags, :unique_key, :limit_key, :options, :now
WHERE NOT EXISTS (SELECT 1 FROM afterword_history WHERE id = :id)
    AND NOT (:unique_ended AND EXISTS (SELECT 1 FROM afterword_history WHERE unique_key = :unique_key))
ON CONFLICT DO NOTHING -- by its id, or by its unique key
RETURNING id
