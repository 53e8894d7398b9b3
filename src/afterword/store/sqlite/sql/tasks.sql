SELECT task, sum(queued), sum(running) FROM (
    SELECT task, count(*) AS queued, 0 AS running
    FROM (SELECT task FROM afterword_jobs WHERE state = 'queued' ORDER BY id DESC LIMIT :limit) GROUP BY task
    UNION ALL
    SELECT task, 0, 1 FROM afterword_jobs WHERE state = 'running'
)
GROUP BY task ORDER BY task
