-- Skip a schedule that another process has locked.
SELECT
    name, CAST(extract(epoch FROM cursors.next_at) AS double precision), CAST(extract(epoch FROM now()) AS double precision), cursors.rule,
    CAST(extract(epoch FROM last_at) AS double precision)
FROM unnest(CAST(:names AS text[]), CAST(:rules AS text[])) AS asked (name, rule)
JOIN afterword.cursors USING (name, rule)
JOIN afterword.schedules USING (name)
WHERE cursors.next_at <= now() AND NOT paused
ORDER BY cursors.next_at, name
FOR UPDATE OF cursors, schedules SKIP LOCKED
