-- The earliest job of a queue that waits for its time: one seek for each priority.
WITH RECURSIVE lanes (priority) AS (
    SELECT min(priority) FROM afterword_jobs WHERE state = 'queued' AND after IS NULL AND queue = :queue
    UNION ALL
    SELECT (
        SELECT min(priority) FROM afterword_jobs
        WHERE state = 'queued' AND after IS NULL AND queue = :queue AND priority > lanes.priority
    )
    FROM lanes WHERE lanes.priority IS NOT NULL
)
SELECT min((
    SELECT min(run_at) FROM afterword_jobs
    WHERE state = 'queued' AND after IS NULL AND queue = :queue AND priority = lanes.priority AND run_at > :now
))
FROM lanes
