-- The attempt was never started: its number is given back, its slot is kept.
UPDATE afterword.jobs AS job
SET state = 'queued', worker = NULL, attempt = job.attempt - 1,
    run_at = greatest(job.run_at, now() + again.delay * interval '1 second'), error = again.reason
FROM unnest(
    CAST(:ids AS uuid[]), CAST(:attempts AS integer[]), CAST(:workers AS text[]), CAST(:delays AS double precision[]), CAST(:reasons AS text[])
) AS again (id, attempt, worker, delay, reason)
WHERE job.id = again.id AND job.attempt = again.attempt AND job.worker = again.worker
RETURNING CAST(job.id AS text), again.attempt, again.worker, job.cancelling
