-- Executed behind reserve.sql, so that nothing can be added meanwhile.
SELECT
    name, concurrency,
    (SELECT count(*) FROM afterword.jobs AS job WHERE job.state = 'running' AND job.queue = name)
FROM afterword.queues WHERE name = ANY (CAST(:queues AS text[])) AND concurrency IS NOT NULL
