-- A running job whose worker is not on the list any more.
SELECT id, attempt, worker, task, lost FROM jobs
WHERE state = 'running' AND (worker IS NULL OR worker NOT IN (SELECT id FROM workers))
ORDER BY id
LIMIT :limit
