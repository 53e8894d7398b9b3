-- Queue a job whose attempt never started: the attempt's number is given back, the slot is kept.
UPDATE afterword.jobs AS job
SET state = 'queued', worker = NULL, fence = NULL, attempt = job.attempt - 1,
    run_at = greatest(job.run_at, now() + again.delay * interval '1 second'), error = coalesce(again.reason, job.error),
    parked_at = CASE WHEN again.reason IS NULL THEN job.parked_at ELSE coalesce(job.parked_at, now()) END
FROM unnest(
    CAST(:ids AS uuid[]), CAST(:attempts AS integer[]), CAST(:workers AS text[]), CAST(:fences AS bigint[]),
    CAST(:delays AS double precision[]), CAST(:reasons AS text[])
) AS again (id, attempt, worker, fence, delay, reason)
WHERE job.id = again.id AND job.attempt = again.attempt AND job.worker = again.worker
    AND job.fence IS NOT DISTINCT FROM again.fence
RETURNING CAST(job.id AS text), again.attempt, again.worker, again.fence, job.cancelling
