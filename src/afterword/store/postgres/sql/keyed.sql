SELECT CAST(id AS text), ended, task, arguments FROM (
    SELECT id, false AS ended, task, CAST(arguments AS text) AS arguments FROM afterword.jobs WHERE unique_key = CAST(:key AS text) AND cancelling IS NULL
    UNION ALL
    (
        SELECT id, true, task, CAST(arguments AS text) FROM afterword.history WHERE unique_key = CAST(:key AS text)
        ORDER BY id DESC LIMIT 1
    )
) AS there
ORDER BY ended
