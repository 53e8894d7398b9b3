-- Count the last :limit of the jobs that ended from :since until :until, by the periods in which they did.
SELECT CAST(finished_at / :seconds AS INTEGER) * :seconds, task, queue, state, /* waited */, /* ran */, count(*)
FROM (
    SELECT finished_at, task, queue, state, started_at - run_at AS waited, finished_at - started_at AS ran
    FROM afterword_history WHERE finished_at >= :since AND finished_at < :until
    ORDER BY finished_at DESC LIMIT :limit
)
GROUP BY 1, 2, 3, 4, 5, 6
