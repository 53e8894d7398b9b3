UPDATE afterword_jobs SET state = 'running', attempt = attempt + 1, worker = :worker, fence = :fence, error = NULL, claimed_at = :now
WHERE id IN (SELECT value FROM json_each(:ids))
