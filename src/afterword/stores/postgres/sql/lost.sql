-- Running jobs whose worker is not on the list any more.
SELECT CAST(id AS text), attempt, worker, fence, task, lost, interrupted, CAST(options AS text), cancelling,
    EXISTS (SELECT 1 FROM afterword.retired WHERE retired.worker = jobs.worker)
FROM afterword.jobs
WHERE state = 'running' AND worker NOT IN (SELECT id FROM afterword.workers)
ORDER BY id
LIMIT :limit
FOR UPDATE SKIP LOCKED
