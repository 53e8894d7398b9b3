-- Find running jobs whose worker is no longer in the table of workers, or has no claim of them.
SELECT CAST(id AS text), attempt, worker, fence, task, lost, interrupted, CAST(options AS text), cancelling,
    EXISTS (SELECT 1 FROM afterword.retired WHERE retired.worker = jobs.worker)
FROM afterword.jobs
WHERE state = 'running' AND (
    worker NOT IN (SELECT id FROM afterword.workers)
    OR worker = :held_by AND CAST(id AS text) <> ALL (CAST(:known AS text[]))
)
ORDER BY id
LIMIT :limit
FOR UPDATE SKIP LOCKED
