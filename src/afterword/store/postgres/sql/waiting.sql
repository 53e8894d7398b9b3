-- Find those of these jobs whose key a running job has that was asked to end. A statement of its own, because it has to see the
-- requests to end that came while the statement before waited for the key.
SELECT CAST(job.id AS text)
FROM afterword.jobs AS job
JOIN afterword.jobs AS ending ON ending.unique_key = job.unique_key AND ending.cancelling IS NOT NULL AND ending.state = 'running'
WHERE job.id = ANY (CAST(:ids AS uuid[])) AND ending.id <> job.id
