WITH ended AS (
    DELETE FROM afterword.jobs AS job
    USING unnest(CAST(:ids AS uuid[]), CAST(:reasons AS text[])) AS wanted (id, reason)
    WHERE job.id = wanted.id AND job.state = 'queued'
    RETURNING job.*, wanted.reason
),
-- Free their slots, if these lie ahead, for the jobs that come next.
freed AS (
    UPDATE afterword.rates SET freed = rates.freed || given.slots
    FROM (
        SELECT limit_key, array_agg(CAST(extract(epoch FROM slot_at) AS double precision)) AS slots
        FROM ended WHERE slot_at > now() AND limit_key IS NOT NULL GROUP BY limit_key
    ) AS given
    WHERE rates.key = given.limit_key
)
INSERT INTO afterword.history ({kept}, state, lost, error, started_at, finished_at)
SELECT {kept}, 'cancelled', lost, reason, NULL, now()
FROM ended
RETURNING CAST(id AS text), CAST(after AS text)
