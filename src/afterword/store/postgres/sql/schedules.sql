SELECT
    name, task, rule, words, CAST(extract(epoch FROM next_at) AS double precision), CAST(extract(epoch FROM last_at) AS double precision), paused,
    CAST(extract(epoch FROM seen_at) AS double precision)
FROM afterword.schedules
ORDER BY name
