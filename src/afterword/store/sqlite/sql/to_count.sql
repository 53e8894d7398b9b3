-- The cursor of the counters, and when the first job ended that it has not passed.
SELECT until, (SELECT min(finished_at) FROM afterword_history WHERE finished_at >= coalesce(until, :first))
FROM (SELECT (SELECT until FROM afterword_counted) AS until)
