-- What is about to be acted on stays as it is until it has been. Statements behind this one see what was added behind these jobs
-- while it waited for those who added it.
SELECT CAST(id AS text), CAST(after AS text) FROM afterword.jobs
WHERE id = ANY (CAST(:ids AS uuid[])) AND state = ANY (CAST(:states AS text[]))
ORDER BY id
FOR UPDATE
