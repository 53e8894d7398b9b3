SELECT
    worker.id, host, pid, queues, concurrency,
    (SELECT count(*) FROM afterword.jobs AS job WHERE job.state = 'running' AND job.worker = worker.id),
    CAST(extract(epoch FROM joined_at) AS double precision), CAST(extract(epoch FROM expires_at) AS double precision), retired, expires_at > now()
FROM afterword.workers AS worker
ORDER BY joined_at, worker.id
