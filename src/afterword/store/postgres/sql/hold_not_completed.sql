-- Find and lock those of these jobs that ended and did not succeed; they are not retried until this is committed.
SELECT CAST(id AS text) FROM afterword.history WHERE id = ANY (CAST(:ids AS uuid[])) AND state <> 'completed' AND state <> 'handed_over' ORDER BY id FOR KEY SHARE
