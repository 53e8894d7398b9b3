SELECT CAST(id AS text), false FROM afterword.jobs WHERE id = ANY (CAST(:ids AS uuid[]))
UNION ALL
SELECT CAST(id AS text), true FROM afterword.history WHERE id = ANY (CAST(:ids AS uuid[]))
