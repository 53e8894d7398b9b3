-- Find the due jobs of one lane, as one row of JSON. With each row that a statement returns the interpreter's
-- lock is released and taken again, and while other threads want it that costs more than the JSON.
SELECT
    CAST(json_group_array(json_array(
        run_at, id, attempt + 1, :worker, :fence, task, arguments, created_at, queue, options, tags, failures, interrupted, lost,
        coalesce(max(0, :careful - parked_at), 0), limit_key, slot_at
    )) AS BLOB) -- text that is not UTF-8 must not make the driver refuse the whole claim
FROM (
    SELECT * FROM afterword_jobs
    WHERE state = 'queued' AND after IS NULL AND queue = :queue AND priority = :priority AND run_at <= :now
        AND EXISTS (SELECT 1 FROM afterword_workers WHERE id = :worker) -- a worker that has left gets nothing
        -- The job that has its key was asked to end, and still runs: wait for it.
        AND (
            unique_key IS NULL OR NOT EXISTS (
                SELECT 1 FROM afterword_jobs AS ending
                WHERE ending.unique_key = afterword_jobs.unique_key AND ending.cancelling IS NOT NULL AND ending.state = 'running'
            )
        )
        AND task NOT IN (SELECT value FROM json_each(:skip))
-- Subtract the running jobs; if this claim takes too many itself, they are given back.
        AND (
            limit_key IS NULL
            OR coalesce(json_extract(options, '$.limit'), 1e9) > (
                SELECT count(*) FROM afterword_jobs AS other WHERE other.state = 'running' AND other.limit_key = afterword_jobs.limit_key
            )
        )
    ORDER BY run_at, id
    LIMIT :limit
)
