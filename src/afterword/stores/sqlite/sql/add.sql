INSERT INTO afterword_jobs (id, task, arguments, queue, priority, state, run_at, attempt, worker, after, on_failure, request_id, created_at)
SELECT
    :id, :task, :arguments, :queue, :priority, :state, :run_at, :attempt, :worker,
    (SELECT id FROM afterword_jobs WHERE id = :after), -- a predecessor that has ended is not waited for
    :on_failure, :request_id, :now
WHERE NOT EXISTS (SELECT 1 FROM afterword_history WHERE id = :id)
ON CONFLICT (id) DO NOTHING
RETURNING id
