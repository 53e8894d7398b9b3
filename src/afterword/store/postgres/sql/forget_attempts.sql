WITH logs AS (DELETE FROM afterword.logs WHERE job_id = ANY (CAST(:ids AS uuid[])))
DELETE FROM afterword.attempts WHERE job_id = ANY (CAST(:ids AS uuid[])) RETURNING job_id
