-- Whoever ends now what one of these jobs waits for waits until its followers have moved up, and then finds them.
SELECT CAST(id AS text) FROM afterword.jobs
WHERE id = ANY (ARRAY(SELECT after FROM afterword.jobs WHERE id = ANY (CAST(:ids AS uuid[])) AND after IS NOT NULL))
ORDER BY id
FOR KEY SHARE
