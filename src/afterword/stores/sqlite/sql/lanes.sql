-- The distinct (queue, priority) pairs with ready jobs, each found by one seek in jobs_ready:
-- a claim per lane reads only due jobs, however many wait for a later time.
WITH RECURSIVE lanes (priority) AS (
    SELECT min(priority) FROM afterword_jobs WHERE state = 'queued' AND after IS NULL AND queue = :queue
    UNION ALL
    SELECT (
        SELECT min(priority) FROM afterword_jobs
        WHERE state = 'queued' AND after IS NULL AND queue = :queue AND priority > lanes.priority
    )
    FROM lanes WHERE lanes.priority IS NOT NULL
)
SELECT priority FROM lanes WHERE priority IS NOT NULL
