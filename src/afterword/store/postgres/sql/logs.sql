SELECT attempt, text FROM afterword.logs WHERE job_id = CAST(:id AS uuid) ORDER BY attempt
