-- Find the state in which a missing job has ended; NULL: unknown.
SELECT (SELECT state FROM afterword_history WHERE id = :id) WHERE NOT EXISTS (SELECT 1 FROM afterword_jobs WHERE id = :id)
