-- Find, for each job that was not added, the existing job: itself, or the one that has its unique key.
SELECT DISTINCT ON (new.place) new.place, CAST(there.id AS text), there.task <> new.task OR there.arguments <> new.arguments
FROM unnest(
    CAST(:ids AS uuid[]), CAST(:tasks AS text[]), CAST(:arguments AS text[]), CAST(:unique_keys AS text[]), CAST(:unique_ended AS boolean[])
) WITH ORDINALITY AS new (id, task, arguments, unique_key, unique_ended, place)
CROSS JOIN LATERAL (
    SELECT 1 AS rank, id, task, CAST(arguments AS text) AS arguments FROM afterword.jobs WHERE id = new.id
    UNION ALL
    SELECT 1, id, task, CAST(arguments AS text) FROM afterword.history WHERE id = new.id
    UNION ALL
    SELECT 2, id, task, CAST(arguments AS text) FROM afterword.jobs
    WHERE unique_key = new.unique_key AND cancelling IS NULL
    UNION ALL
    SELECT 3, id, task, CAST(arguments AS text) FROM afterword.jobs
    WHERE unique_key = new.unique_key AND cancelling IS NOT NULL AND new.unique_ended
    UNION ALL
    (
        SELECT 4, id, task, CAST(arguments AS text) FROM afterword.history WHERE unique_key = new.unique_key AND new.unique_ended
        ORDER BY id DESC LIMIT 1
    )
) AS there
ORDER BY new.place, there.rank
