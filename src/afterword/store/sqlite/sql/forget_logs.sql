DELETE FROM afterword_logs WHERE job_id IN (SELECT value FROM json_each(:ids))
