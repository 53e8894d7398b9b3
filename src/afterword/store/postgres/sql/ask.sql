-- Ask for the end of running jobs.
UPDATE afterword.jobs SET cancelling = :reason WHERE id = ANY (CAST(:ids AS uuid[])) AND state = 'running' RETURNING CAST(id AS text)
