-- How a job has ended, if it is not there any more; NULL: nobody knows.
SELECT (SELECT state FROM afterword_history WHERE id = :id) WHERE NOT EXISTS (SELECT 1 FROM afterword_jobs WHERE id = :id)
