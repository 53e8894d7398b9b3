SELECT {shown}, cancelling, NULL, created_at, run_at, NULL, NULL
FROM afterword_jobs WHERE id IN (SELECT value FROM json_each(:ids))
UNION ALL
SELECT {shown}, NULL, result, created_at, run_at, started_at, finished_at
FROM afterword_history WHERE id IN (SELECT value FROM json_each(:ids))
