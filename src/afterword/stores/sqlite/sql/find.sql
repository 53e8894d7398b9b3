SELECT * FROM (
    SELECT
        id, task, CAST(arguments AS BLOB), queue, priority, state, attempt, lost, interrupted, worker, after, on_failure,
        request_id, error, created_at, run_at, NULL AS started_at, NULL AS finished_at
    FROM jobs WHERE id < :before AND (:state IS NULL OR state = :state) ORDER BY id DESC LIMIT :limit
)
UNION ALL
SELECT * FROM (
    SELECT
        id, task, CAST(arguments AS BLOB), queue, priority, state, attempt, lost, interrupted, worker, after, on_failure,
        request_id, error, created_at, run_at, started_at, finished_at
    FROM history WHERE id < :before AND (:state IS NULL OR state = :state) ORDER BY id DESC LIMIT :limit
)
ORDER BY id DESC LIMIT :limit
