-- Find the existing job instead of one that was not added: itself, or the one that has its unique key; and if it is another call.
SELECT id, task <> :task OR arguments <> :arguments FROM (
    SELECT 1 AS rank, id, task, arguments FROM afterword_jobs WHERE id = :id
    UNION ALL
    SELECT 1, id, task, arguments FROM afterword_history WHERE id = :id
    UNION ALL
    SELECT 2, id, task, arguments FROM afterword_jobs WHERE unique_key = :unique_key AND cancelling IS NULL
    UNION ALL
    SELECT 3, id, task, arguments FROM afterword_jobs WHERE unique_key = :unique_key AND cancelling IS NOT NULL AND :unique_ended
    UNION ALL
    SELECT 4, id, task, arguments FROM afterword_history WHERE unique_key = :unique_key AND :unique_ended
)
ORDER BY rank, id DESC LIMIT 1
