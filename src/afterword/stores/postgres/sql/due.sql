-- One that somebody else deals with at this moment is theirs.
SELECT
    name, CAST(extract(epoch FROM next_at) AS double precision), CAST(extract(epoch FROM now()) AS double precision)
FROM afterword.schedules
WHERE name = ANY (CAST(:names AS text[])) AND next_at <= now() AND NOT paused
ORDER BY schedules.next_at, name
FOR UPDATE SKIP LOCKED
