(SELECT count(*) FROM (SELECT 1 FROM afterword_history WHERE /* wanted */ LIMIT :limit))
