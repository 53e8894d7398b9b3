-- Queue a job whose attempt is over: the attempt keeps its number, and the next one needs a slot of its own.
UPDATE afterword.jobs AS job
SET state = 'queued', worker = NULL, fence = NULL, run_at = greatest(job.run_at, now() + again.delay * interval '1 second'), error = again.error,
    interrupted = job.interrupted + again.interrupted, lost = job.lost + again.lost, failures = job.failures + again.failures, slot_at = NULL,
    parked_at = NULL
FROM unnest(
    CAST(:ids AS uuid[]), CAST(:attempts AS integer[]), CAST(:workers AS text[]), CAST(:fences AS bigint[]), CAST(:delays AS double precision[]),
    CAST(:errors AS text[]), CAST(:interrupted AS integer[]), CAST(:lost AS integer[]), CAST(:failures AS integer[])
) AS again (id, attempt, worker, fence, delay, error, interrupted, lost, failures)
WHERE job.id = again.id AND job.attempt = again.attempt AND job.worker = again.worker
    AND job.fence IS NOT DISTINCT FROM again.fence
RETURNING CAST(job.id AS text), again.attempt, again.worker, again.fence, job.cancelling
