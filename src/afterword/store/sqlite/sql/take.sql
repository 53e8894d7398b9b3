UPDATE afterword_jobs SET state = 'running', attempt = attempt + 1, worker = :worker, fence = :fence, claimed_at = :now
WHERE id IN (SELECT value FROM json_each(:ids))
