INSERT INTO afterword.logs (job_id, attempt, text)
SELECT id, attempt, log FROM unnest(CAST(:ids AS uuid[]), CAST(:attempts AS integer[]), CAST(:logs AS text[])) AS kept (id, attempt, log)
ON CONFLICT (job_id, attempt) DO UPDATE SET text = excluded.text
RETURNING attempt
