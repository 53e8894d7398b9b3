INSERT INTO afterword_jobs (id, task, arguments, queue, priority, state, run_at, attempt, worker, fence, after, on_failure, request_id, tags, unique_key, limit_key, options, created_at)
SELECT
    :id, :task, :arguments, :queue, :priority, :state, :run_at, :attempt, :worker, :fence,
    -- A predecessor that has ended is not waited for; one that was not added because of its key is the one that has the key.
    coalesce(
        (SELECT id FROM afterword_jobs WHERE id = :after),
        (SELECT id FROM afterword_jobs WHERE unique_key = :after_key ORDER BY cancelling IS NOT NULL)
    ),
    :on_failure, :request_id, :tags, :unique_key, :limit_key, :options, :now
WHERE NOT EXISTS (SELECT 1 FROM afterword_history WHERE id = :id)
    AND NOT (:unique_ended AND EXISTS (SELECT 1 FROM afterword_history WHERE unique_key = :unique_key))
    AND NOT (:unique_ended AND EXISTS (SELECT 1 FROM afterword_jobs WHERE unique_key = :unique_key AND cancelling IS NOT NULL))
ON CONFLICT DO NOTHING -- by its id, or by its unique key
-- At last: whether the one with its key has been asked to end, and has not.
RETURNING id, EXISTS (
    SELECT 1 FROM afterword_jobs AS ending WHERE ending.unique_key = :unique_key AND ending.cancelling IS NOT NULL AND ending.state = 'running'
)
