-- Which of these have ended and not completed; nobody tries them again until this is committed.
SELECT CAST(id AS text) FROM afterword.history WHERE id = ANY (CAST(:ids AS uuid[])) AND state <> 'completed' ORDER BY id FOR KEY SHARE
