UPDATE afterword.jobs AS job SET progress = report.progress
FROM unnest(CAST(:ids AS uuid[]), CAST(:attempts AS integer[]), CAST(:workers AS text[]), CAST(:progress AS text[])) AS report (id, attempt, worker, progress)
WHERE job.id = report.id AND job.attempt = report.attempt AND job.worker = report.worker
RETURNING CAST(job.id AS text), job.attempt, job.worker
