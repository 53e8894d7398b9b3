SELECT
    id, host, pid, queues, concurrency,
    (SELECT count(*) FROM afterword_jobs WHERE state = 'running' AND worker = afterword_workers.id),
    joined_at, expires_at, retired
FROM afterword_workers ORDER BY joined_at, id
