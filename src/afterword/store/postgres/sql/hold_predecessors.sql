-- Whoever ends one of these now waits until the jobs behind it are there, and then finds them. What has ended meanwhile is not held.
SELECT id FROM afterword.jobs WHERE id = ANY (CAST(:ids AS uuid[])) ORDER BY id FOR KEY SHARE
