-- Find running jobs whose worker is no longer in the table of workers, or has no claim of them.
SELECT id, attempt, worker, fence, task, lost, interrupted, options, cancelling,
    worker IN (SELECT worker FROM afterword_retired)
FROM afterword_jobs
WHERE state = 'running' AND (
    worker IS NULL
    OR worker NOT IN (SELECT id FROM afterword_workers)
    OR worker = :held_by AND id NOT IN (SELECT value FROM json_each(:known))
)
ORDER BY id
LIMIT :limit
