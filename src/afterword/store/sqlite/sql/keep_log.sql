INSERT INTO afterword_logs (job_id, attempt, text) VALUES (:id, :attempt, :log)
ON CONFLICT (job_id, attempt) DO UPDATE SET text = excluded.text
