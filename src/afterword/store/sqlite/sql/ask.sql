-- Whoever runs the job is asked to end it.
UPDATE afterword_jobs SET cancelling = :reason WHERE id = :id AND state = 'running' RETURNING id
