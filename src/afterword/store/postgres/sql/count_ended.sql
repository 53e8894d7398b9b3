SELECT count(*) FROM (SELECT 1 FROM afterword.history AS job WHERE --where
LIMIT :limit) AS counted
