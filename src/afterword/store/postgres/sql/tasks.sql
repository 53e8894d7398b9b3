SELECT task, count(*) FILTER (WHERE state = 'queued'), count(*) FILTER (WHERE state = 'running')
FROM (
    (SELECT task, state FROM afterword.jobs WHERE state = 'queued' ORDER BY id DESC LIMIT CAST(:limit AS bigint))
    UNION ALL
    SELECT task, state FROM afterword.jobs WHERE state = 'running'
) AS job
GROUP BY task
ORDER BY task
