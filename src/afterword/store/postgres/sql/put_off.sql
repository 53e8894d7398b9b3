-- Give back a claim that may not start yet because of its limit or rate.
UPDATE afterword.jobs AS job
SET state = 'queued', worker = NULL, fence = NULL, attempt = job.attempt - 1, run_at = greatest(job.run_at, to_timestamp(later.slot)),
    slot_at = coalesce(to_timestamp(later.slot), job.slot_at)
FROM unnest(
    CAST(:ids AS uuid[]), CAST(:attempts AS integer[]), CAST(:workers AS text[]), CAST(:fences AS bigint[]), CAST(:slots AS double precision[])
) AS later (id, attempt, worker, fence, slot)
WHERE job.id = later.id AND job.attempt = later.attempt AND job.worker = later.worker
    AND job.fence IS NOT DISTINCT FROM later.fence
RETURNING job.id
