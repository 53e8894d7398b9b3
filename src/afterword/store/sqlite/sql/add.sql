INSERT INTO afterword_jobs ({said}, state, run_at, attempt, worker, fence, after, unique_key, created_at)
SELECT
    {:said}, :state, :run_at, :attempt, :worker, :fence,
    -- Do not wait for a predecessor that has ended. In place of one that was not added because of its key, wait for the job that has it.
    coalesce(
        (SELECT id FROM afterword_jobs WHERE id = :after),
        -- Two queries and no ORDER BY, for which SQLite sets up a sorter at each execution: nine tenths of the time (scripts/bench R).
        (SELECT id FROM afterword_jobs WHERE unique_key = :after_key AND cancelling IS NULL),
        (SELECT id FROM afterword_jobs WHERE unique_key = :after_key)
    ),
    :unique_key, :now
WHERE NOT EXISTS (SELECT 1 FROM afterword_history WHERE id = :id)
    AND NOT (:unique_ended AND EXISTS (SELECT 1 FROM afterword_history WHERE unique_key = :unique_key))
    AND NOT (:unique_ended AND EXISTS (SELECT 1 FROM afterword_jobs WHERE unique_key = :unique_key AND cancelling IS NOT NULL))
ON CONFLICT DO NOTHING -- of its id, or of its unique key
-- The last column: true if a job with its key was asked to end, and still runs.
RETURNING id, EXISTS (
    SELECT 1 FROM afterword_jobs AS ending WHERE ending.unique_key = :unique_key AND ending.cancelling IS NOT NULL AND ending.state = 'running'
)
