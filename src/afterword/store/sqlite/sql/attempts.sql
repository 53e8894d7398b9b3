SELECT job_id, attempt, worker, outcome, error, started_at, ended_at FROM afterword_attempts WHERE job_id = :id ORDER BY attempt
