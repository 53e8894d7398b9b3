SELECT {shown}, cancelling, NULL, created_at, run_at,
    iif(state = 'running', coalesce(claimed_at, created_at), NULL), NULL, iif(state = 'queued', parked_at, NULL)
FROM afterword_jobs WHERE id IN (SELECT value FROM json_each(:ids))
UNION ALL
SELECT {shown}, NULL, result, created_at, run_at, started_at, finished_at, NULL
FROM afterword_history WHERE id IN (SELECT value FROM json_each(:ids))
