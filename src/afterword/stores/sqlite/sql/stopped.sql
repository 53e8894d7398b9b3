-- Everything that waits, directly or not, for the failed job and is to stop with it.
WITH RECURSIVE stopped (id) AS (
    SELECT id FROM jobs WHERE after = :id AND on_failure = 'stop'
    UNION ALL
    SELECT jobs.id FROM jobs JOIN stopped ON jobs.after = stopped.id WHERE jobs.on_failure = 'stop'
)
SELECT id FROM stopped
