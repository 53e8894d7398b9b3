-- Whoever ends one of these now, or what has one of these keys, waits until the jobs behind it are there, and then finds them.
SELECT id FROM afterword.jobs
WHERE id = ANY (CAST(:ids AS uuid[]) || ARRAY(SELECT id FROM afterword.jobs WHERE unique_key = ANY (CAST(:keys AS text[]))))
ORDER BY id
FOR KEY SHARE
