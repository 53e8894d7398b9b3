SELECT attempt, text FROM afterword_logs WHERE job_id = :id ORDER BY attempt
