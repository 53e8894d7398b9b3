DELETE FROM afterword.counters
USING unnest(CAST(:seconds AS integer[]), CAST(:before AS double precision[])) AS old (seconds, before)
WHERE counters.seconds = old.seconds AND counters.starts_at < old.before
RETURNING counters.seconds
