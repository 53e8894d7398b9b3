SELECT task, sum(queued), sum(running), sum(completed), sum(handed_over), sum(failed), sum(cancelled), max(last_at) FROM (
    SELECT
        task, sum(state = 'queued') AS queued, sum(state = 'running') AS running, 0 AS completed, 0 AS handed_over, 0 AS failed,
        0 AS cancelled, NULL AS last_at
    FROM afterword_jobs GROUP BY task
    UNION ALL
    SELECT
        task, 0, 0, sum(state = 'completed'), sum(state = 'handed_over'), sum(state = 'failed'), sum(state = 'cancelled'),
        max(finished_at)
    FROM afterword_history WHERE finished_at >= :since GROUP BY task
)
GROUP BY task ORDER BY task
