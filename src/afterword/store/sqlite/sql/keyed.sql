SELECT id, ended, task, arguments FROM (
    SELECT id, 0 AS ended, task, arguments FROM afterword_jobs WHERE unique_key = :key AND cancelling IS NULL
    UNION ALL
    SELECT id, 1, task, arguments FROM afterword_history WHERE unique_key = :key
)
ORDER BY ended, id DESC LIMIT 2
