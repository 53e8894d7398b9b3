-- Find and lock those of these jobs that ended and did not complete; they are not retried until this is committed.
SELECT CAST(id AS text) FROM afterword.history WHERE id = ANY (CAST(:ids AS uuid[])) AND state <> 'completed' ORDER BY id FOR KEY SHARE
