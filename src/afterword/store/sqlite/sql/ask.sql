-- Ask for the end of a running job.
UPDATE afterword_jobs SET cancelling = :reason WHERE id = :id AND state = 'running' RETURNING id
