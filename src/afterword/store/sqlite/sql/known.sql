SELECT id, 0 FROM afterword_jobs WHERE id IN (SELECT value FROM json_each(:ids))
UNION ALL
SELECT id, 1 FROM afterword_history WHERE id IN (SELECT value FROM json_each(:ids))
