SELECT CAST(id AS text) FROM afterword.history WHERE id = ANY (CAST(:ids AS uuid[]))
