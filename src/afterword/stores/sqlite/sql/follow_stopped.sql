-- Who goes on after a failure becomes ready when what it waited for is stopped.
WITH RECURSIVE stopped (id) AS (
    SELECT :id
    UNION -- not ALL: rows edited into a circle must not keep it going
    SELECT job.id FROM afterword_jobs AS job JOIN stopped ON job.after = stopped.id WHERE job.on_failure = 'stop'
)
UPDATE afterword_jobs SET after = NULL WHERE after IN (SELECT id FROM stopped) AND on_failure <> 'stop'
RETURNING id
