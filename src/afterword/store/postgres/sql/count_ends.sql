-- Count the last :limit of the jobs that ended from :since until :until, by the periods in which they did.
SELECT
    CAST(floor(finished_at / CAST(:seconds AS integer)) AS bigint) * CAST(:seconds AS integer), task, queue, state,
    width_bucket(waited, CAST(:bounds AS double precision[])), width_bucket(ran, CAST(:bounds AS double precision[])), count(*)
FROM (
    SELECT
        CAST(extract(epoch FROM finished_at) AS double precision) AS finished_at, task, queue, state,
        CAST(extract(epoch FROM started_at - run_at) AS double precision) AS waited,
        CAST(extract(epoch FROM finished_at - started_at) AS double precision) AS ran
    FROM afterword.history WHERE history.finished_at >= to_timestamp(:since) AND history.finished_at < to_timestamp(:until)
    ORDER BY history.finished_at DESC LIMIT :limit
) AS job
GROUP BY 1, 2, 3, 4, 5, 6
