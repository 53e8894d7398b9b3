DELETE FROM afterword_history WHERE id IN (SELECT value FROM json_each(:ids)) RETURNING id
