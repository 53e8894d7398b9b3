SELECT count(*) FROM (SELECT 1 FROM afterword.jobs AS job WHERE --where
LIMIT :limit) AS counted
