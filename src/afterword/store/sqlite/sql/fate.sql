-- Find how a job has ended that is not there any more; NULL: unknown.
SELECT (SELECT state FROM afterword_history WHERE id = :id) WHERE NOT EXISTS (SELECT 1 FROM afterword_jobs WHERE id = :id)
