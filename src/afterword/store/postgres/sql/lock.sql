-- Lock the jobs that are about to be changed. The statements behind this one see the followers that were added while it waited for
-- the transactions that added them.
SELECT CAST(id AS text), CAST(after AS text) FROM afterword.jobs
WHERE id = ANY (CAST(:ids AS uuid[])) AND state = ANY (CAST(:states AS text[]))
ORDER BY id
FOR UPDATE
