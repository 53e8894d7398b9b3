-- Find which of the attempts that complete.sql was given are ours; before their jobs are removed.
SELECT json_group_array(job.id)
FROM json_each(:ended) AS ended
CROSS JOIN afterword_jobs AS job -- see complete.sql
WHERE job.id = ended.value ->> 0 AND job.attempt = ended.value ->> 1 AND job.worker IS ended.value ->> 2 AND job.fence IS ended.value ->> 3
