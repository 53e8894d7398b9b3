-- Of the jobs that were restored just now: a predecessor that is not here is not waited for.
UPDATE afterword_jobs SET after = NULL
WHERE id IN (SELECT value FROM json_each(:ids)) AND after NOT IN (SELECT id FROM afterword_jobs)
