UPDATE afterword.jobs AS job SET progress = report.progress
FROM unnest(
    CAST(:ids AS uuid[]), CAST(:attempts AS integer[]), CAST(:workers AS text[]), CAST(:fences AS bigint[]), CAST(:progress AS text[])
) AS report (id, attempt, worker, fence, progress)
WHERE job.id = report.id AND job.attempt = report.attempt AND job.worker = report.worker
    AND job.fence IS NOT DISTINCT FROM report.fence
RETURNING CAST(job.id AS text), job.attempt, job.worker, job.fence
