-- Whoever runs these jobs is asked to end them.
UPDATE afterword.jobs SET cancelling = :reason WHERE id = ANY (CAST(:ids AS uuid[])) AND state = 'running' RETURNING CAST(id AS text)
