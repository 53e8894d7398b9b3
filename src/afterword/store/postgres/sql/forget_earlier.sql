-- Delete old attempts of jobs that are retried without end.
WITH old (id, last) AS (SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:lasts AS integer[]))),
logs AS (DELETE FROM afterword.logs AS log USING old WHERE log.job_id = old.id AND log.attempt <= old.last)
DELETE FROM afterword.attempts AS over USING old WHERE over.job_id = old.id AND over.attempt <= old.last RETURNING over.job_id
