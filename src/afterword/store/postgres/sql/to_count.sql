-- The cursor of the counters, when the first job ended that it has not passed, and the time.
SELECT
    until,
    (
        SELECT CAST(extract(epoch FROM min(finished_at)) AS double precision) FROM afterword.history
        WHERE finished_at >= coalesce(to_timestamp(until), now() - CAST(:first AS double precision) * interval '1 second')
    ),
    CAST(extract(epoch FROM now()) AS double precision)
FROM (SELECT (SELECT until FROM afterword.counted) AS until) AS counted
