-- Record attempts that did not end their jobs.
INSERT INTO afterword.attempts (job_id, attempt, worker, outcome, error, started_at, ended_at)
SELECT id, attempt, worker, outcome, error, now() - age * interval '1 second', now()
FROM unnest(
    CAST(:ids AS uuid[]), CAST(:attempts AS integer[]), CAST(:workers AS text[]), CAST(:outcomes AS text[]), CAST(:errors AS text[]),
    CAST(:ages AS double precision[])
) AS over (id, attempt, worker, outcome, error, age)
ON CONFLICT DO NOTHING
RETURNING job_id
