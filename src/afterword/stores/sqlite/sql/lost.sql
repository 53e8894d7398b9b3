-- A running job whose worker is not on the list any more.
SELECT id, attempt, worker, fence, task, lost, interrupted, options, cancelling,
    worker IN (SELECT worker FROM afterword_retired)
FROM afterword_jobs
WHERE state = 'running' AND (worker IS NULL OR worker NOT IN (SELECT id FROM afterword_workers))
ORDER BY id
LIMIT :limit
