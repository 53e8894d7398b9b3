DELETE FROM afterword.history WHERE id = ANY (CAST(:ids AS uuid[])) RETURNING CAST(id AS text)
