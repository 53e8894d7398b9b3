SELECT name, next_at FROM afterword_schedules
WHERE name IN (SELECT value FROM json_each(:names)) AND next_at <= :now AND NOT paused
ORDER BY next_at, name
